package coturn

import "slices"

// Changed names the options of which c and o do not have the same lines, each once. The
// order of different options means nothing to coturn.
func (c *Conf) Changed(o *Conf) (names []string) {
	was, is := c.texts(), o.texts()
	seen := map[string]bool{}
	for _, l := range slices.Concat(c.lines, o.lines) {
		if was[l.name] != is[l.name] && !seen[l.name] {
			names = append(names, l.name)
		}
		seen[l.name] = true
	}
	return names
}

// texts are the lines of each option.
func (c *Conf) texts() map[string]string {
	all := map[string]string{}
	for _, l := range c.lines {
		all[l.name] += l.value + "\n"
	}
	return all
}
