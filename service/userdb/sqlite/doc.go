// Package sqlite makes, reads and writes coturn's database with the program sqlite3.
package sqlite
