package dashboards

// The dashboards, which link to one another.
const (
	fleetUID    = "turnwarden-fleet"
	nodeUID     = "turnwarden-node"
	capacityUID = "turnwarden-capacity"
	gatewayUID  = "turnwarden-gateway"
)

// links leave the node behind: another dashboard is about another choice of them. The
// jobs of gateways are not those of nodes.
func links(ofNodes bool) []link {
	var all []link
	for _, d := range []struct {
		uid, title string
		nodes      bool
	}{{fleetUID, "Fleet overview", true}, {nodeUID, "Node", true}, {capacityUID, "Capacity planning", true}, {gatewayUID, "Gateway", false}} {
		url := "/d/" + d.uid + "?${datasource:queryparam}"
		if d.nodes == ofNodes {
			url += "&${job:queryparam}"
		}
		all = append(all, link{Title: d.title, Type: "link", Icon: "dashboard", URL: url})
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

// all lets the viewer choose several values, and every one to begin with: those that
// match value or, without one, those on offer.
func all(v variable, value string) variable {
	v.Multi, v.IncludeAll, v.AllValue = true, true, value
	v.Current = &choice{[]string{"All"}, []string{"$__all"}}
	return v
}

// jobVariable offers the jobs that export the metric. All of them are just these, and
// not every job of the Prometheus: `up` is a metric of all.
func jobVariable(of string) variable {
	return all(labelVariable("job", "Job", "label_values("+of+", job)"), "")
}

func instanceVariable(of string) variable {
	return labelVariable("instance", "Instance", "label_values("+of+`{job=~"$job"}, instance)`)
}

// instancesVariable has all of them by a pattern: a thousand names make a long query.
func instancesVariable(of string) variable { return all(instanceVariable(of), ".+") }

// starts marks every new process: its start time is seen by Prometheus even when
// turnwarden restarted with it and its counters began anew.
func starts(title, of string) annotation {
	return annotation{
		Name: title, Datasource: prometheus, Enable: true, IconColor: "orange", Step: "60s",
		Expr:        selectors.Replace("changes(" + of + "{$node}[2m]) > 0"),
		TitleFormat: "{{instance}}: " + title,
	}
}

// serverStarts are those of TURN servers.
func serverStarts() annotations {
	return annotations{[]annotation{starts("TURN server started", "turnwarden_turnserver_process_start_time_seconds")}}
}
