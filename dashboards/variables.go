package dashboards

// The dashboards, which link to one another.
const (
	fleetUID    = "turnwarden-fleet"
	nodeUID     = "turnwarden-node"
	capacityUID = "turnwarden-capacity"
)

// links leave the node behind: another dashboard is about another choice of them.
func links() []link {
	var all []link
	for _, d := range []struct{ uid, title string }{{fleetUID, "Fleet overview"}, {nodeUID, "Node"}, {capacityUID, "Capacity planning"}} {
		all = append(all, link{
			Title: d.title, Type: "link", Icon: "dashboard",
			URL: "/d/" + d.uid + "?${datasource:queryparam}&${job:queryparam}",
		})
	}
	return all
}

// toNode makes the values of a column lead to their node.
func toNode() property {
	return property{"links", []link{{
		Title: "Open this node",
		URL:   "/d/" + nodeUID + "?var-instance=${__value.raw}&${datasource:queryparam}&${job:queryparam}&from=${__from}&to=${__to}",
	}}}
}

func datasourceVariable() variable {
	return variable{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1}
}

// labelVariable offers the values that a label has in the chosen time.
func labelVariable(name, label, definition string) variable {
	return variable{
		Name: name, Label: label, Type: "query", Datasource: &prometheus, Definition: definition,
		Query:   map[string]string{"query": definition, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
		Refresh: 2, Sort: 1,
	}
}

// all lets the viewer choose several values, and every one to begin with.
func all(v variable) variable {
	v.Multi, v.IncludeAll, v.AllValue = true, true, ".+"
	v.Current = &choice{[]string{"All"}, []string{"$__all"}}
	return v
}

func jobVariable() variable {
	return all(labelVariable("job", "Job", "label_values(turnwarden_build_info, job)"))
}

func instanceVariable() variable {
	return labelVariable("instance", "Instance", `label_values(turnwarden_build_info{job=~"$job"}, instance)`)
}

// restarts marks every new child: its start time is seen by Prometheus even when
// turnwarden restarted with it and its counters began anew.
func restarts() annotation {
	return annotation{
		Name: "TURN server started", Datasource: prometheus, Enable: true, IconColor: "orange", Step: "60s",
		Expr:        selectors.Replace("changes(turnwarden_child_process_start_time_seconds{$node}[2m]) > 0"),
		TitleFormat: "{{instance}}: TURN server started",
	}
}
