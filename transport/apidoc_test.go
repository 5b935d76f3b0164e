package transport_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:generate go test -run ^TestAPIDoc$ -update .

var update = flag.Bool("update", false, "rewrite docs/api.md")

// apiDoc writes openapi.yaml down for people.
func apiDoc(doc *openapi3.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Generated from transport/openapi.yaml by make generate. -->\n# The API\n\n%s", doc.Info.Description)
	b.WriteString("\n`transport/openapi.yaml` is the same for machines, and a test holds every answer against it. In Go, `transport.NewClient` asks it.\n")
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Find(path)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			describeOperation(&b, path, method, item.GetOperation(method))
		}
	}
	b.WriteString("\n## Fields\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		if s := doc.Components.Schemas[name].Value; len(s.Properties) > 0 {
			describeFields(&b, name, s)
		}
	}
	return b.String()
}

func describeOperation(b *strings.Builder, path, method string, o *openapi3.Operation) {
	fmt.Fprintf(b, "\n## %s %s\n\n%s. Scope `%s`.\n", method, path, o.Summary, o.Extensions["x-scope"])
	if o.Description != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(o.Description))
	}
	if len(o.Parameters) > 0 {
		b.WriteString("\n| Parameter | |\n|---|---|\n")
	}
	for _, p := range o.Parameters {
		name := p.Value.Name
		if p.Value.In != "query" {
			name += " (" + p.Value.In + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.TrimSpace(p.Value.Description+" "+accepted(p.Value.Schema.Value)))
	}
	b.WriteString("\n| Answer | | |\n|---|---|---|\n")
	var examples []string
	for _, code := range slices.Sorted(maps.Keys(o.Responses.Map())) {
		r := o.Responses.Value(code).Value
		types := slices.Sorted(maps.Keys(r.Content))
		fmt.Fprintf(b, "| %s | %s | %s |\n", code, *r.Description, strings.Join(types, ", "))
		for _, t := range types {
			if e := r.Content[t].Example; e != nil {
				examples = append(examples, example(e))
			}
		}
	}
	for _, e := range examples {
		fmt.Fprintf(b, "\n```\n%s\n```\n", e)
	}
}

// example is JSON, or text as it is.
func example(e any) string {
	if text, ok := e.(string); ok {
		return strings.TrimSpace(text)
	}
	data, _ := json.Marshal(e) // it was read from YAML
	return string(data)
}

// accepted says in words what a schema takes.
func accepted(s *openapi3.Schema) string {
	switch {
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, ", ") + "."
	case s.Pattern != "":
		return "`" + s.Pattern + "`"
	case s.Min != nil && s.Max != nil:
		return fmt.Sprintf("%.0f to %.0f.", *s.Min, *s.Max)
	}
	return ""
}

func describeFields(b *strings.Builder, name string, s *openapi3.Schema) {
	fmt.Fprintf(b, "\n### %s\n\n| Field | | |\n|---|---|---|\n", name)
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[key]
		kind := strings.Join(p.Value.Type.Slice(), "")
		switch {
		case p.Ref != "":
			kind = strings.TrimPrefix(p.Ref, "#/components/schemas/")
		case kind == "array" && p.Value.Items.Ref != "":
			kind = "array of " + strings.TrimPrefix(p.Value.Items.Ref, "#/components/schemas/")
		case kind == "array":
			kind = "array of " + strings.Join(p.Value.Items.Value.Type.Slice(), "")
		case p.Value.Format != "":
			kind = p.Value.Format
		}
		if !slices.Contains(s.Required, key) {
			kind += ", where there is one"
		}
		words := ""
		if len(p.Value.Enum) > 0 {
			words = accepted(p.Value)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, kind, cmp.Or(strings.TrimSpace(p.Value.Description+" "+words), " "))
	}
}
