// Package page shows what somebody knows as one web page: a sentence, the reasons
// behind it, and sections of facts, tables, lines and charts. It is one file
// without any other, reads without JavaScript, and is live with it.
package page
