package main

import (
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// examples are what the help of a command ends with, for those that have no longer one.
var examples = map[string][]string{
	"run": {
		"turnwarden run --config.file=/etc/turnwarden/turnwarden.yml",
		"turnwarden run --config.file=turnwarden.yml --web.listen-address=127.0.0.1:13479 --log.format=json",
	},
	"gateway":      {"turnwarden gateway --config.file=/etc/turnwarden/gateway.yml"},
	"check-config": {"turnwarden check-config --config.file=/etc/turnwarden/turnwarden.yml"},
	"status":       {"turnwarden status", "turnwarden status --output=json"},
	"logs":         {"turnwarden logs -n 500", "turnwarden logs -f"},
	"rotate":       {"turnwarden rotate"},
	"revoke": {
		"turnwarden revoke --generation=7", "turnwarden revoke --all --wait", "turnwarden revoke --user=alice",
	},
	"maintenance": {"turnwarden maintenance on", "turnwarden maintenance off"},
	"drain":       {"turnwarden drain --deadline=30m", "turnwarden drain --then=hold"},
	"resume":      {"turnwarden resume"},
	"restart":     {"turnwarden restart --deadline=30m"},
	"reload":      {"turnwarden reload", "turnwarden reload --drain --deadline=30m"},
	"import":      {"turnwarden import ./credential"},
	"users":       {"turnwarden users list", "turnwarden users prune 'monitor-*'", "turnwarden users prune --yes alice bob"},
	"upgrade":     {"turnwarden upgrade", "install -m 755 bin/turnwarden /usr/local/bin/ && turnwarden upgrade"},
	"servers":     {"turnwarden servers --config.file=/etc/turnwarden/gateway.yml --watch"},
	"handover":    {"turnwarden handover", "turnwarden handover --check", "turnwarden handover --yes"},
	"token":       {"turnwarden token signalling"},
	"doctor":      {"turnwarden doctor", "turnwarden doctor --config.file=/etc/turnwarden/turnwarden.yml --output=json"},
	"dashboards":  {"turnwarden dashboards --out=/etc/grafana/turnwarden"},
}

// addExamples gives each command that has examples its longer help.
func addExamples(app *kingpin.Application) {
	for name, lines := range examples {
		app.GetCommand(name).HelpLong("Examples:\n  " + strings.Join(lines, "\n  ") + "\n")
	}
}
