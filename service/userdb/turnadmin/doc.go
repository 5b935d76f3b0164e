// Package turnadmin writes coturn's database with coturn's own tool.
package turnadmin
