// Package transport puts the service on the wire: go-kit endpoints, the HTTP
// routes of the credential API and its clients. The admin socket is in admin, the
// operators' web listener in web.
//
// What is common to all methods of the domain is endpoint middleware; what
// belongs to HTTP (methods, sizes, time limits) is http.Handler middleware. The
// bodies are in shapes.go and nowhere else.
package transport
