package dashboards

// fleet answers: who is listed, why are the others not, is the load even?
func fleet() dashboard {
	d := dashboard{
		UID: fleetUID, Title: "turnwarden / Fleet overview", Links: links(true),
		Description: "Which TURN servers clients are sent to, why the others are left out, and how evenly they are used.",
		Time:        timeRange{From: "now-24h"},
		Templating:  variables{[]variable{datasourceVariable(), jobVariable("turnwarden_ready"), instancesVariable("turnwarden_ready")}},
		Annotations: serverStarts(),
	}
	return build(d,
		row{"Now", []panel{
			stat("Listed", "Nodes that clients are sent to: registered in ZooKeeper with state up.", count,
				query(`count(turnwarden_state{$node,state="up"} == 1 and on (job, instance) turnwarden_zookeeper_registered{$node} == 1) or vector(0)`, ""),
				levels("red", level{1, "green"}), wide(3, 4)),
			stat("Not serving", "Nodes whose TURN server does not serve: state down or foreign_server.", count,
				query(`count(turnwarden_state{$node,state=~"down|foreign_server"} == 1) or vector(0)`, ""),
				levels("green", level{1, "red"}), wide(3, 4)),
			stat("Not scraped", "Nodes that Prometheus knows of and cannot reach.", count,
				query(`count(up{$node} == 0) or vector(0)`, ""), levels("green", level{1, "red"}), wide(3, 4)),
			stat("Draining", "Nodes that wait for their calls to end before they stop.", count,
				query(`count(turnwarden_state{$node,state="draining"} == 1) or vector(0)`, ""), wide(3, 4)),
			stat("Allocations", "Open TURN allocations.", count, query(`sum(turnwarden_allocations{$node})`, ""), wide(3, 4)),
			stat("Utilisation", "Used share of the capacity of the nodes that serve, in the tighter direction.", ratio,
				query(`sum(region:turnwarden_used_bytes_per_second:sum_avg5m{$fleet}) / sum(region:turnwarden_capacity_bytes_per_second:sum{$fleet})`, ""),
				levels("green", level{.6, "orange"}, level{.8, "red"}), wide(3, 4)),
			stat("Room without the largest node", "What would be left now if the largest node were lost, in the region where that is least. Below zero the fleet could not carry its load.", bps,
				query(`min(region:turnwarden_capacity_bytes_per_second:sum_minus_max{$fleet} - region:turnwarden_used_bytes_per_second:sum_avg5m{$fleet}) * 8`, ""),
				levels("red", level{0, "green"}), noValue("one node"), wide(3, 4)),
			stat("Oldest credential", "Age of the oldest credential as a share of its node's rotation interval. Above 100% a rotation is overdue.", ratio,
				query(`max(turnwarden_credential_age_seconds{$node} / turnwarden_credential_rotation_interval_seconds{$node})`, ""),
				levels("green", level{1.05, "orange"}, level{1.5, "red"}), wide(3, 4)),
		}},
		row{"Who is listed, and why not", []panel{
			nodes(),
			timeline("State of each node", "up is listed; anything else says why clients are sent elsewhere.",
				query(stateQuery("turnwarden_state", nodeStates()), "{{instance}}"), stateNames(nodeStates())),
			timeline("ZooKeeper session of each node", "A node whose session has expired has lost its record and makes a new one.",
				query(stateQuery("turnwarden_zookeeper_session_state", sessionStates()), "{{instance}}"), stateNames(sessionStates())),
			firingAlerts("Alerts of turnwarden that fire now.", field("instance", toNode())),
		}},
		row{"Load and balance", []panel{
			graph("Load of each node", "Throughput in the direction that each node is measured by, stacked, under the capacity of the nodes that serve.", bps,
				query(`sum by (instance) (instance:turnwarden_used_bytes_per_second:avg5m{$node}) * 8`, "{{instance}}"),
				query(`sum(instance:turnwarden_serving_capacity_bytes_per_second:max10m{$node}) * 8`, "Capacity"),
				stacked, limit("Capacity", "red"), fromZero),
			graph("Utilisation of each node", "Used share of each node's capacity. Lines that run together are a balanced fleet.", ratio,
				query(`sum by (instance) (instance:turnwarden_utilisation:ratio_avg5m{$node})`, "{{instance}}"),
				levels("green", level{.8, "red"}), bounds(0, 1)),
			graph("Imbalance", "Utilisation of the fullest node minus that of the emptiest, among those that are listed.", ratio,
				query(`max by (job) (instance:turnwarden_utilisation:ratio_avg5m{$node} and on (job, instance) turnwarden_state{$node,state="up"} == 1)`+
					` - min by (job) (instance:turnwarden_utilisation:ratio_avg5m{$node} and on (job, instance) turnwarden_state{$node,state="up"} == 1)`, "{{job}}"),
				levels("green", level{.3, "orange"}), bounds(0, 1)),
			graph("Advertised minus measured headroom", "Above zero, clients are told of more room than there is. Short spikes are the age of the record.", bps,
				query(`(turnwarden_advertised_free_bytes_per_second{$node} - turnwarden_headroom_bytes_per_second{$node}) * 8`, "{{instance}}")),
			graph("Allocations of each node", "Open TURN allocations, stacked.", count,
				query(`sum by (instance) (turnwarden_allocations{$node})`, "{{instance}}"), stacked, fromZero),
			graph("Free capacity as advertised", "Headroom in the record of each node; zero means that no new client is sent there.", bps,
				query(`sum by (instance) (turnwarden_advertised_free_bytes_per_second{$node}) * 8`, "{{instance}}"), fromZero),
		}},
		row{"Drains", []panel{
			graph("Calls that are waited for", "Open allocations of the nodes that drain; without a drain 0.", count,
				query(`sum by (instance) (turnwarden_allocations{$node} * on (job, instance) group_left () turnwarden_draining{$node})`, "{{instance}}"), stacked, fromZero),
			graph("Time left", "Time until the deadline of each drain, when its calls are cut; without a deadline 0. Below zero the drain is stuck.", seconds,
				query(`sum by (instance) (turnwarden_drain_deadline_timestamp_seconds{$node} - (turnwarden_drain_deadline_timestamp_seconds{$node} > bool 0) * time())`, "{{instance}}"),
				levels("red", level{0, "green"})),
		}},
		row{"Trouble", []panel{
			graph("Restarts", "Times a TURN server was started again, by reason. Each one ends the calls of its node.", count,
				query(`round(sum by (reason) (increase(turnwarden_turnserver_restarts_total{$node}[$__rate_interval])))`, "{{reason}}"), bars),
			graph("Refusals", "Requests that the TURN servers answered with an error, by STUN error code. 486 and 508 mean full.", perSec,
				query(`sum by (code) (rate(turnwarden_refusals_total{$node}[$__rate_interval]))`, "{{code}}"), fromZero),
			graph("Failed logins", "Logins that failed, by cause.", perSec,
				query(`sum by (cause) (rate(turnwarden_auth_failures_total{$node}[$__rate_interval]))`, "{{cause}}"), fromZero),
			table("Versions", "Versions of turnwarden in the fleet; more than one during a roll-out only.", count,
				query(`count by (version, revision, goversion) (turnwarden_build_info{$node})`, ""),
				nodeCounts, wide(12, 8)),
			table("Versions of coturn", "Versions of coturn in the fleet. Where they differ, so does what a drain can do.", count,
				query(`count by (version) (turnwarden_turnserver_info{$node})`, ""),
				nodeCounts, wide(12, 8)),
			table("Places", "Where the nodes are, as their configuration says.", count,
				query(`count by (region, zone) (turnwarden_node_info{$node})`, ""),
				nodeCounts, wide(12, 8)),
		}},
	)
}

// nodes is one line for each node. The columns of several queries are joined by
// the node, and called `Value #` and the letter of the query until they are named.
func nodes() panel {
	bar := property{"custom.cellOptions", map[string]any{"type": "gauge", "mode": "basic"}}
	return table("Nodes", "One line for each node, with a link to its dashboard.", "none",
		query(`max by (instance, state) (turnwarden_state{$node} == 1)`, ""),
		query(`max by (instance) (turnwarden_zookeeper_registered{$node})`, ""),
		query(`sum by (instance) (turnwarden_headroom_bytes_per_second{$node}) * 8`, ""),
		query(`sum by (instance) (instance:turnwarden_utilisation:ratio_avg5m{$node})`, ""),
		query(`sum by (instance) (turnwarden_allocations{$node})`, ""),
		query(`time() - max by (instance) (turnwarden_turnserver_process_start_time_seconds{$node})`, ""),
		query(`max by (instance, version) (turnwarden_build_info{$node})`, ""),
		transform("joinByField", map[string]any{"byField": "instance", "mode": "outer"}),
		transform("organize", map[string]any{
			"excludeByName": map[string]bool{
				"Value #A": true, "Value #G": true,
				"Time": true, "Time 1": true, "Time 2": true, "Time 3": true, "Time 4": true, "Time 5": true, "Time 6": true, "Time 7": true,
			},
			"indexByName": map[string]int{"instance": 0, "state": 1, "Value #B": 2, "Value #C": 3, "Value #D": 4, "Value #E": 5, "Value #F": 6, "version": 7},
			"renameByName": map[string]string{
				"instance": "Node", "state": "State", "Value #B": "Record", "Value #C": "Headroom", "Value #D": "Utilisation",
				"Value #E": "Allocations", "Value #F": "Up for", "version": "Version",
			},
		}),
		field("Node", toNode()),
		field("Record", property{"mappings", []mapping{words(mapped{Text: "missing", Color: "orange"}, mapped{Text: "present", Color: "green"})}}),
		field("Headroom", property{"unit", bps}),
		field("Utilisation", property{"unit", ratio}, property{"min", 0}, property{"max", 1}, bar),
		field("Up for", property{"unit", seconds}),
	)
}

// nodeCounts names the one column of a table that is a number.
func nodeCounts(p *panel) {
	transform("organize", map[string]any{
		"excludeByName": map[string]bool{"Time": true},
		"renameByName":  map[string]string{"Value": "Nodes"},
	})(p)
}

func firingAlerts(description string, settings ...setting) panel {
	return table("Firing alerts", description, "none", append([]setting{
		query(`ALERTS{$fleet,alertname=~"Turn.*",alertstate="firing"}`, ""),
		transform("organize", map[string]any{
			"excludeByName": map[string]bool{"Time": true, "Value": true, "__name__": true, "alertstate": true, "job": true},
			"indexByName":   map[string]int{"alertname": 0, "severity": 1, "instance": 2},
		}), noValue("none"),
	}, settings...)...)
}
