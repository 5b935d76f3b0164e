// Package web is the operators' listener: metrics, health, readiness and a live status
// page. Nothing on it is secret. What the page says is decided here, from a status alone;
// how it looks is in page.
package web
