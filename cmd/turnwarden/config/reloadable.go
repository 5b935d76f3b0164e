package config

import (
	"reflect"
	"slices"
	"strings"
)

// What a reload does with a key that has changed, by its tag reload.
const (
	Live    = "live"  // it is in force at once, and no call is touched
	Drained = "drain" // it waits until turnserver is started anew, as after a drain
	Started = "start" // it waits until turnwarden is
)

// Changed names the keys of this kind that differ.
func Changed(from, to Node, kind string) (keys []string) {
	eachChange(&from, to, func(key, k string, _, _ reflect.Value) {
		if k == kind {
			keys = append(keys, key)
		}
	})
	return keys
}

// Take returns from with the keys of these kinds as to has them.
func Take(from, to Node, kinds ...string) Node {
	eachChange(&from, to, func(_, kind string, a, b reflect.Value) {
		if slices.Contains(kinds, kind) {
			a.Set(b)
		}
	})
	return from
}

func eachChange(from *Node, to Node, visit func(key, kind string, a, b reflect.Value)) {
	// The files of TLS may be others, but not whether it is spoken: that is on record.
	turned := from.API.TLS.Enabled() != to.API.TLS.Enabled()
	var walk func(a, b reflect.Value, prefix string)
	walk = func(a, b reflect.Value, prefix string) {
		for i := range a.NumField() {
			tag := a.Type().Field(i).Tag
			key := strings.TrimPrefix(prefix+"."+tag.Get("yaml"), ".")
			switch x, y := a.Field(i), b.Field(i); {
			case x.Kind() == reflect.Struct:
				walk(x, y, key)
			case reflect.DeepEqual(x.Interface(), y.Interface()):
			case turned && strings.HasPrefix(key, "api.tls."):
				visit(key, Started, x, y)
			default:
				visit(key, tag.Get("reload"), x, y)
			}
		}
	}
	walk(reflect.ValueOf(from).Elem(), reflect.ValueOf(to), "")
}
