// Package admin is the Unix socket on which root asks a running turnwarden to do
// something: its handler, and the client that the commands of the CLI use. Who calls
// is known by the kernel's word. What is done is told as it is done, a line each step.
package admin
