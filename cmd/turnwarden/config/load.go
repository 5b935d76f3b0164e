package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A problem is one mistake in the configuration file.
type problem struct {
	line          int // 0 = the key is absent, or concerns the file as a whole
	key           string
	found, remedy string // what is there; what is accepted, what to do
}

// problems are all mistakes of one file. Operators mend them in one go.
type problems struct {
	file string
	list []problem
}

func (p *problems) Error() string {
	var lines []string
	for _, m := range p.list {
		where := p.file
		if m.line > 0 {
			where += ":" + strconv.Itoa(m.line)
		}
		lines = append(lines, fmt.Sprintf("%s: %s: found %s; accepted: %s", where, m.key, m.found, m.remedy))
	}
	return strings.Join(lines, "\n")
}

func (p *problems) add(line int, key, found, remedy string) {
	p.list = append(p.list, problem{line, key, found, remedy})
}

// document is a parsed file: the values, and where each key stands, so that
// checks across keys can name the line.
type document struct {
	problems
	lines map[string]int
	other func(path string) string // the command whose key it is instead; "" = nobody's
}

// LoadNode reads the file of a node, fills in defaults and checks everything that can
// be known without looking at the machine. The error names every mistake.
func LoadNode(path string) (Node, error) {
	var c Node
	err := load(path, reflect.ValueOf(&c).Elem(), keyOf[Gateway]("turnwarden gateway"), func(d *document) error {
		if c.Node == "" && d.lines["node"] == 0 {
			host, err := os.Hostname()
			if err != nil {
				return fmt.Errorf("%s: node: host name unknown (%w); set node", path, err)
			}
			c.Node = host
		}
		d.check(&c)
		return nil
	})
	return c, err
}

// LoadGateway reads the file of a gateway likewise.
func LoadGateway(path string) (Gateway, error) {
	var c Gateway
	err := load(path, reflect.ValueOf(&c).Elem(), keyOf[Node]("turnwarden run"), func(d *document) error {
		d.checkGateway(&c)
		return nil
	})
	return c, err
}

// IsGateway says whether a file is that of a gateway rather than of a node. One that
// cannot be read is neither, and the reader of either says why.
func IsGateway(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	root, err := parse(data)
	if err != nil || root == nil || root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i].Value == "gateway" {
			return true
		}
	}
	return false
}

// load reads the file into the struct v.
func load(path string, v reflect.Value, other func(string) string, check func(*document) error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w; name an existing file with --config.file", err)
	}
	doc := &document{problems: problems{file: path}, lines: map[string]int{}, other: other}
	setDefaults(v)
	root, err := parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if root != nil {
		doc.mapping(root, v, "")
	}
	if err := check(doc); err != nil {
		return err
	}
	if len(doc.list) > 0 {
		slices.SortStableFunc(doc.list, func(a, b problem) int { return a.line - b.line })
		return &doc.problems
	}
	return nil
}

// Check checks a configuration that no file holds as it is; its errors name that of path.
func (c Node) Check(path string) error {
	doc := &document{problems: problems{file: path}}
	c.Registry.ZooKeeper = slices.Clone(c.Registry.ZooKeeper) // check completes them
	doc.check(&c)
	if len(doc.list) > 0 {
		return &doc.problems
	}
	return nil
}
