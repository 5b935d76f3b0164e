package dashboards

// capacity answers, in this order: is there room, for how long, and what if the
// largest node dies?
func capacity() dashboard {
	horizon := variable{
		Name: "horizon", Label: "Horizon", Type: "custom", Query: "7 days : 604800, 30 days : 2592000, 90 days : 7776000",
		Current: &choice{"30 days", "2592000"},
	}
	d := dashboard{
		UID: capacityUID, Title: "turnwarden / Capacity planning", Links: links(true),
		Description: "Is there room, for how long, and what if the largest node dies? Panels over 30 days need a Prometheus that keeps them (--storage.tsdb.retention.time=45d; the default is 15d).",
		Time:        timeRange{From: "now-30d"},
		Templating:  variables{[]variable{datasourceVariable(), jobVariable("turnwarden_ready"), instancesVariable("turnwarden_ready"), horizon}},
		Annotations: serverStarts(),
	}
	return build(d,
		row{"Is there room?", []panel{
			stat("Headroom now", "Capacity of the nodes that serve that is not in use.", bps,
				query(`sum(region:turnwarden_capacity_bytes_per_second:sum{$fleet} - region:turnwarden_used_bytes_per_second:sum_avg5m{$fleet}) * 8`, "")),
			stat("Headroom at the peak of the week", "The same, at the highest load of the last seven days.", bps,
				query(`sum(region:turnwarden_capacity_bytes_per_second:sum{$fleet} - region:turnwarden_used_bytes_per_second:max7d{$fleet}) * 8`, ""),
				levels("red", level{0, "green"})),
			stat("Utilisation now", "Used share of the capacity, in the tighter direction, by region.", ratio,
				query(`region:turnwarden_utilisation:ratio_avg5m{$fleet}`, "{{region}}"), levels("green", level{.6, "orange"}, level{.8, "red"})),
			stat("p95 utilisation, 30 days", "Utilisation that was exceeded 5% of the last 30 days, by region.", ratio,
				now(`quantile_over_time(0.95, region:turnwarden_utilisation:ratio_avg5m{$fleet}[30d])`, "{{region}}"), levels("green", level{.6, "orange"}, level{.8, "red"})),
			stat("Highest utilisation, 30 days", "Peak of the last 30 days, by region.", ratio,
				now(`max_over_time(region:turnwarden_utilisation:ratio_avg5m{$fleet}[30d])`, "{{region}}"), levels("green", level{.7, "orange"}, level{.9, "red"})),
			stat("Until 80%", "When the trend of the weekly peak, drawn through 14 days, reaches 80% of the capacity, by region. It is noise in the first three weeks, linear, and knows of no holidays.", seconds,
				query(`region:turnwarden_until_80_percent_seconds:deriv14d{$fleet}`, "{{region}}"), untilColors, notGrowing),
		}},
		row{"What if the largest node dies?", []panel{
			stat("Room at the peak without it", "What would be left at the highest load of the last day, by region. Below zero calls would be lost.", bps,
				query(`(region:turnwarden_capacity_bytes_per_second:sum_minus_max{$fleet} - region:turnwarden_used_bytes_per_second:max1d{$fleet}) * 8`, "{{region}}"),
				levels("red", level{0, "green"}), noValue("one node"), wide(6, 4)),
			stat("Until there is none", "When the trend of the weekly peak reaches what remains without the largest node, by region.", seconds,
				query(`clamp((region:turnwarden_capacity_bytes_per_second:sum_minus_max{$fleet} - region:turnwarden_used_bytes_per_second:max7d{$fleet})`+
					` / clamp_min(deriv(region:turnwarden_used_bytes_per_second:max7d{$fleet}[14d]), 1e-9), 0, 315360000)`, "{{region}}"),
				untilColors, notGrowing, noValue("one node"), wide(6, 4)),
			stat("Allocations that still fit without it", "Room at the peak of the last day, divided by what an allocation costs now, by region.", count,
				query(`clamp_min(sum(region:turnwarden_capacity_bytes_per_second:sum_minus_max{$fleet} - region:turnwarden_used_bytes_per_second:max1d{$fleet})`+
					` / (sum(instance:turnwarden_used_bytes_per_second:avg5m{$node}) / sum(turnwarden_allocations{$node})), 0)`, ""),
				decimals(0), noValue("one node"), wide(6, 4)),
			stat("Nodes that serve", "Nodes that have served within ten minutes, by region.", count,
				query(`count by (region) (instance:turnwarden_serving_capacity_bytes_per_second:max10m{$node})`, "{{region}}"), wide(6, 4)),
			table("If this node dies", "Utilisation of the others in its region if they take over its load, in proportion to their capacity: now, and at the peak of the last day.", ratio,
				query(afterLossOf("region:turnwarden_used_bytes_per_second:sum_avg5m"), ""),
				query(afterLossOf("region:turnwarden_used_bytes_per_second:max1d"), ""),
				transform("joinByField", map[string]any{"byField": "instance", "mode": "outer"}),
				transform("organize", map[string]any{
					"excludeByName": map[string]bool{"Time": true, "Time 1": true, "Time 2": true, "job": true, "job 1": true, "job 2": true, "region 2": true},
					"indexByName":   map[string]int{"instance": 0, "region": 1, "region 1": 1, "Value #A": 2, "Value #B": 3},
					"renameByName":  map[string]string{"instance": "Node", "region 1": "Region", "region": "Region", "Value #A": "The others now", "Value #B": "The others at the peak"},
				}),
				levels("green", level{.8, "orange"}, level{1, "red"}), field("Node", toNode()),
				colored("The others now"), colored("The others at the peak")),
		}},
		row{"Demand and capacity", []panel{
			graph("Demand against capacity", "Load of each node, stacked, under the capacity of those that serve, with and without the largest.", bps,
				query(`sum by (instance) (instance:turnwarden_used_bytes_per_second:avg5m{$node}) * 8`, "{{instance}}"),
				query(`sum(region:turnwarden_capacity_bytes_per_second:sum{$fleet}) * 8`, "Capacity"),
				query(`sum(region:turnwarden_capacity_bytes_per_second:sum_minus_max{$fleet}) * 8`, "Without the largest"),
				stacked, limit("Capacity", "red"), limit("Without the largest", "orange"), fromZero, wide(24, 9)),
			graph("Peak and forecast", "Highest load of each day and week, and where the trend of the weekly peak leads within the horizon. Capacity is the highest of the day, so that a restart does not dent it.", bps,
				query(`sum(region:turnwarden_used_bytes_per_second:max1d{$fleet}) * 8`, "Peak of the day"),
				query(`sum(region:turnwarden_used_bytes_per_second:max7d{$fleet}) * 8`, "Peak of the week"),
				query(`sum(predict_linear(region:turnwarden_used_bytes_per_second:max7d{$fleet}[14d], $horizon)) * 8`, "Forecast"),
				query(`sum(max_over_time(region:turnwarden_capacity_bytes_per_second:sum{$fleet}[1d])) * 8`, "Capacity"),
				query(`sum(max_over_time(region:turnwarden_capacity_bytes_per_second:sum_minus_max{$fleet}[1d])) * 8`, "Without the largest"),
				limit("Capacity", "red"), limit("Without the largest", "orange"), limit("Forecast", "blue"), every("1h"), fromZero),
			graph("Growth, week on week", "Peak of the week against that of the week before, by region.", ratio,
				query(`region:turnwarden_used_bytes_per_second:max7d{$fleet} / region:turnwarden_used_bytes_per_second:max7d{$fleet} offset 7d - 1`, "{{job}} {{region}}"), every("1h")),
		}},
		row{"Shape of the load", []panel{
			hourOfWeek(),
			busiestHours(),
		}},
		row{"Other limits", []panel{
			graph("Throughput of an allocation", "What one more user costs: load divided by open allocations.", bps,
				query(`sum(instance:turnwarden_used_bytes_per_second:avg5m{$node}) * 8 / (sum(turnwarden_allocations{$node}) > 0)`, "An allocation"), fromZero),
			graph("Processor cores of turnserver", "coturn relays with one thread for each core; a node that runs out of cores loses packets before it runs out of bandwidth.", count,
				query(`sum by (instance) (rate(turnwarden_turnserver_process_cpu_seconds_total{$node}[$__rate_interval]))`, "{{instance}}"), fromZero),
			graph("File descriptors of turnserver", "Open ones as a share of the limit.", ratio,
				query(`turnwarden_turnserver_process_open_fds{$node} / turnwarden_turnserver_process_max_fds{$node}`, "{{instance}}"), levels("green", level{.8, "red"}), bounds(0, 1)),
			graph("Memory of turnserver", "Resident memory.", size,
				query(`turnwarden_turnserver_process_resident_memory_bytes{$node}`, "{{instance}}"), fromZero),
			graph("Refused for want of room", "Allocations that a full server refused: 486 (quota) and 508 (no relay port).", perSec,
				query(`sum by (instance) (rate(turnwarden_refusals_total{$node,code=~"486|508"}[$__rate_interval]))`, "{{instance}}"), fromZero),
			graph("Dropped packets", "Received packets that the network devices dropped: the limit that is not bandwidth.", "pps",
				query(`sum by (instance) (rate(turnwarden_network_receive_drops_total{$node}[$__rate_interval]))`, "{{instance}}"), fromZero),
		}},
	)
}

// afterLossOf is the load of a region over its capacity without one node, for
// each of its nodes.
func afterLossOf(load string) string {
	own := `sum by (job, region, instance) (instance:turnwarden_serving_capacity_bytes_per_second:max10m{$node})`
	return load + `{$fleet} / on (job, region) group_right () ((region:turnwarden_capacity_bytes_per_second:sum{$fleet} - on (job, region) group_right () ` + own + `) > 0)`
}

func colored(column string) setting {
	return field(column, property{"custom.cellOptions", map[string]any{"type": "color-background", "mode": "basic"}})
}

func untilColors(p *panel) {
	const day = 24 * 3600
	levels("red", level{30 * day, "orange"}, level{90 * day, "green"})(p)
}

// notGrowing names the ten years that the queries stop at.
func notGrowing(p *panel) {
	d := &p.FieldConfig.Defaults
	d.Mappings = append(d.Mappings, mapping{"range", map[string]any{
		"from": 315360000, "to": nil, "result": mapped{Text: "not growing", Color: "green"},
	}})
}

// every sets the least step, for series that change slowly and cost much.
func every(interval string) setting { return func(p *panel) { p.Interval = interval } }

// hourOfWeek is a table because Grafana has no heatmap of two calendars.
func hourOfWeek() panel {
	return table("Usual utilisation by hour of the week (UTC)", "Mean of the last 30 days, in the region where it is highest.", ratio,
		query(`max by (day, hour) (avg_over_time(region_hour:turnwarden_utilisation:ratio_avg5m{$fleet}[30d]))`, ""),
		transform("sortBy", map[string]any{"fields": map[string]any{}, "sort": []map[string]any{{"field": "hour"}}}),
		transform("groupingToMatrix", map[string]any{"columnField": "day", "rowField": "hour", "valueField": "Value"}),
		transform("organize", map[string]any{
			"excludeByName": map[string]bool{},
			"indexByName":   map[string]int{`hour\day`: 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 7},
			"renameByName":  map[string]string{`hour\day`: "Hour", "1": "Mon", "2": "Tue", "3": "Wed", "4": "Thu", "5": "Fri", "6": "Sat", "7": "Sun"},
		}),
		func(p *panel) {
			p.FieldConfig.Defaults.Color = map[string]any{"mode": "continuous-GrYlRd"}
			p.FieldConfig.Defaults.Custom["cellOptions"] = map[string]any{"type": "color-background", "mode": "gradient"}
		},
		field("Hour", property{"unit", "string"}, property{"custom.cellOptions", map[string]any{"type": "auto"}}),
		bounds(0, 1), decimals(0), wide(12, 24))
}

// busiestHours covers a week whatever the range is: 30 days of hours are a smear.
func busiestHours() panel {
	return newPanel("status-history", "Busiest hours of each node", "Highest utilisation in each hour of the last seven days.", ratio, 12, 24, []setting{
		query(`max by (instance) (max_over_time(instance:turnwarden_utilisation:ratio_avg5m{$node}[1h]))`, "{{instance}}"),
		func(p *panel) {
			p.TimeFrom = "7d"
			p.FieldConfig.Defaults.Color = map[string]any{"mode": "continuous-GrYlRd"}
			p.FieldConfig.Defaults.Custom = map[string]any{"fillOpacity": 80, "lineWidth": 0}
			p.Options = map[string]any{
				"showValue": "never", "rowHeight": 0.9,
				"legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": false},
			}
		},
		every("1h"), bounds(0, 1), decimals(0),
	})
}
