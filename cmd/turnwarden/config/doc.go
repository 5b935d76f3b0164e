// Package config reads the two files that operators write: that of a node and that of a
// gateway. It decodes them, fills in defaults, checks all that can be known without looking at
// the machine, and knows what a reload may change.
package config
