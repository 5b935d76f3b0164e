package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// keyOf returns what says that a key belongs into the file of another command.
func keyOf[T any](command string) func(path string) string {
	return func(path string) string {
		v := reflect.ValueOf(new(T)).Elem()
		for key := range strings.SplitSeq(path, ".") {
			if v.Kind() != reflect.Struct {
				return ""
			}
			f, ok := fieldNamed(v, key)
			if !ok {
				return ""
			}
			v = f.value
		}
		return command
	}
}

// parse returns the mapping at the top of the one document, nil for an empty file.
func parse(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("found a second YAML document; accepted: one document in the file")
	}
	return doc.Content[0], nil
}

// mapping decodes n into the struct v; prefix is the dotted path of v.
func (d *document) mapping(n *yaml.Node, v reflect.Value, prefix string) {
	n = dealias(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // `probe:` with nothing below it
	}
	keys := fields(v.Type())
	if n.Kind != yaml.MappingNode {
		d.add(n.Line, name(prefix), describe(n), "a mapping with the keys "+strings.Join(keys, ", "))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], dealias(n.Content[i+1])
		path := strings.TrimPrefix(prefix+"."+key.Value, ".")
		field, ok := fieldNamed(v, key.Value)
		switch {
		case !ok:
			found := "an unknown key"
			if command := d.other(path); command != "" {
				found = "a key of " + command
			}
			d.add(key.Line, path, found, "the keys "+strings.Join(keys, ", "))
		case d.lines[path] != 0:
			d.add(key.Line, path, fmt.Sprintf("a second time (first on line %d)", d.lines[path]), "each key once")
		case field.value.Kind() == reflect.Struct:
			d.lines[path] = key.Line
			d.mapping(value, field.value, path)
		default:
			d.lines[path] = key.Line
			d.leaf(value, field, path)
		}
	}
}

func (d *document) leaf(n *yaml.Node, f field, path string) {
	if f.value.Kind() == reflect.Slice {
		var list []string
		switch {
		case n.Kind == yaml.SequenceNode:
			for _, item := range n.Content {
				if item = dealias(item); item.Kind != yaml.ScalarNode || item.Value == "" {
					d.add(item.Line, path, describe(item), "a list of words")
					return
				}
				list = append(list, item.Value)
			}
		case n.Kind == yaml.ScalarNode && n.Value != "" && n.Tag != "!!null":
			list = []string{n.Value}
		default:
			d.add(n.Line, path, describe(n), "a word or a list of words")
			return
		}
		f.value.Set(reflect.ValueOf(list))
		return
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.add(n.Line, path, describe(n), "one value")
		return
	}
	if err := f.set(n.Value); err != nil {
		d.add(n.Line, path, strconv.Quote(n.Value), err.Error())
	}
}

func dealias(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func name(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return prefix
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null" || n.Value == "":
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// field is a leaf of Config with its tags.
type field struct {
	value reflect.Value
	tag   reflect.StructTag
}

func fieldNamed(v reflect.Value, key string) (field, bool) {
	for i := range v.NumField() {
		if t := v.Type().Field(i); t.Tag.Get("yaml") == key {
			return field{v.Field(i), t.Tag}, true
		}
	}
	return field{}, false
}

func fields(t reflect.Type) []string {
	var keys []string
	for f := range t.Fields() {
		keys = append(keys, f.Tag.Get("yaml"))
	}
	return keys
}

func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		f := field{v.Field(i), v.Type().Field(i).Tag}
		switch def := f.tag.Get("default"); {
		case f.value.Kind() == reflect.Struct:
			setDefaults(f.value)
			if key, value, ok := strings.Cut(def, "="); ok { // one of its keys has another default here
				inner, _ := fieldNamed(f.value, key)
				if err := inner.set(value); err != nil {
					panic(fmt.Sprintf("default of %s.%s: %v", f.tag.Get("yaml"), key, err))
				}
			}
		case def == "":
		case f.value.Kind() == reflect.Slice:
			f.value.Set(reflect.ValueOf([]string{def}))
		default:
			if err := f.set(def); err != nil {
				panic(fmt.Sprintf("default of %s: %v", f.tag.Get("yaml"), err))
			}
		}
	}
}

// set parses s into the field. Its error says what is accepted.
func (f field) set(s string) error {
	least := f.tag.Get("min")
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		if words := strings.Fields(f.tag.Get("oneof")); len(words) > 0 && !slices.Contains(words, s) {
			accepted := strings.Join(words, ", ")
			if word, instead, _ := strings.Cut(f.tag.Get("gone"), ": "); word == s {
				accepted += "; " + instead
			}
			return errors.New(accepted)
		}
		*p = s
	case *bool:
		switch s {
		case "true", "false":
			*p = s == "true"
		default:
			return errors.New("true, false")
		}
	case *int:
		floor, _ := strconv.Atoi(least)
		n, err := strconv.Atoi(s)
		if err != nil || n < floor {
			return fmt.Errorf("a whole number, at least %d", floor)
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || n < 0 || n > 1e9 || math.IsNaN(n) {
			return errors.New("a number, at least 0, without a unit")
		}
		*p = n
	case *time.Duration:
		floor, _ := time.ParseDuration(least) // "" is 0
		d, err := time.ParseDuration(s)
		if err != nil || d < floor || d < 0 {
			return fmt.Errorf("a duration with its unit, such as 500ms, 10s or 24h, at least %v", floor)
		}
		*p = d
	case *Mbps:
		if s == "auto" {
			*p = 0
			return nil
		}
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || n <= 0 || math.IsInf(n, 0) || math.IsNaN(n) {
			return errors.New("auto, or a number of megabits per second above 0, without a unit")
		}
		*p = Mbps(n)
	default:
		panic(fmt.Sprintf("no grammar for %s", f.value.Type()))
	}
	return nil
}
