// Package userdb is what is common to the databases in which turnserver looks up its users
// or shared secrets: which words it takes, what stands in a row, and as whom a helper runs.
// Each outside system has a package of its own below; userdbtest has the contract that all
// of them keep.
package userdb
