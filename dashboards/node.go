package dashboards

// node answers everything about one host.
func node() dashboard {
	d := dashboard{
		UID: nodeUID, Title: "turnwarden / Node", Links: links(),
		Description: "One host: its traffic, its sessions, its TURN server, its credential, its place in ZooKeeper.",
		Time:        timeRange{From: "now-6h"},
		Templating:  variables{[]variable{datasourceVariable(), jobVariable(), instanceVariable()}},
	}
	return build(d,
		row{"Now", []panel{
			stat("State", "What the record says: up, or why clients are sent elsewhere.", "none",
				query(stateQuery("turnwarden_state", nodeStates()), "{{instance}}"), stateNames(nodeStates()), background, wide(3, 4)),
			stat("Headroom", "Capacity that is not in use, in the direction that the node is measured by.", bps,
				query(`sum(turnwarden_headroom_bytes_per_second{$node}) * 8`, ""), wide(3, 4)),
			stat("Utilisation", "Used share of the capacity, in the tighter direction.", ratio,
				query(`instance:turnwarden_utilisation:ratio_avg5m{$node}`, "{{instance}}"), levels("green", level{.6, "orange"}, level{.8, "red"}), wide(3, 4)),
			stat("Allocations", "Open TURN allocations.", count, query(`sum(turnwarden_allocations{$node})`, ""), wide(3, 4)),
			stat("TURN server up for", "Time since turnserver was started.", seconds,
				query(`time() - turnwarden_child_process_start_time_seconds{$node}`, "{{instance}}"), noValue("not running"), wide(3, 4)),
			stat("Restarts", "Restarts of turnserver in the chosen time, of any cause.", count,
				now(`round(sum(increase(turnwarden_child_restarts_total{$node}[$__range])))`, ""), levels("green", level{1, "orange"}), wide(3, 4)),
			stat("Credential valid for", "Time until the credential that is handed out expires. While rotations succeed it is never less than lifetime minus rotate_every.", seconds,
				query(`(turnwarden_credential_expiry_timestamp_seconds{$node} > 0) - time()`, "{{instance}}"),
				levels("red", level{3600, "orange"}, level{4 * 3600, "green"}), noValue("none"), wide(3, 4)),
			stat("Version", "Version of turnwarden.", "none",
				now(`turnwarden_build_info{$node}`, "{{version}}"), text("name"), wide(3, 4)),
		}},
		row{"Throughput", []panel{
			graph("Received", "Bytes received by each network device, from the kernel's counters, under the capacity of the node.", bps,
				query(`rate(turnwarden_network_receive_bytes_total{$node}[$__rate_interval]) * 8`, "{{device}}"),
				query(`sum(turnwarden_capacity_bytes_per_second{$node}) * 8`, "Capacity"), stacked, limit("Capacity", "red"), fromZero),
			graph("Sent", "Bytes sent by each network device, from the kernel's counters, under the capacity of the node.", bps,
				query(`rate(turnwarden_network_transmit_bytes_total{$node}[$__rate_interval]) * 8`, "{{device}}"),
				query(`sum(turnwarden_capacity_bytes_per_second{$node}) * 8`, "Capacity"), stacked, limit("Capacity", "red"), fromZero),
			graph("Headroom, measured and advertised", "What the node measures and what its record tells clients. Advertised is zero while the node is unlisted.", bps,
				query(`turnwarden_headroom_bytes_per_second{$node} * 8`, "Measured"),
				query(`turnwarden_advertised_free_bytes_per_second{$node} * 8`, "Advertised"), fromZero),
			graph("Rates that the record was computed from", "Throughput over traffic.interval, by device.", bps,
				query(`turnwarden_network_receive_bytes_per_second{$node} * 8`, "{{device}} received"),
				query(`turnwarden_network_transmit_bytes_per_second{$node} * 8`, "{{device}} sent"), fromZero),
			graph("Relayed payload", "Payload from and to peers, as turnserver reports it: every 4096 packets of a session and at its end, so that it comes late and in jumps.", bps,
				query(`rate(turnwarden_relay_receive_bytes_total{$node}[$__rate_interval]) * 8`, "From peers"),
				query(`rate(turnwarden_relay_transmit_bytes_total{$node}[$__rate_interval]) * 8`, "To peers"), fromZero),
			graph("Dropped packets", "Received packets that the network device dropped.", "pps",
				query(`rate(turnwarden_network_receive_drops_total{$node}[$__rate_interval])`, "{{device}}"), fromZero),
			graph("Link speed", "Capacity of each network device; zero where it reports none and traffic.capacity_mbps decides.", bps,
				query(`turnwarden_network_capacity_bytes_per_second{$node} * 8`, "{{device}}"), fromZero),
		}},
		row{"Sessions", []panel{
			graph("Allocations", "Open TURN allocations.", count, query(`turnwarden_allocations{$node}`, "Open"), fromZero),
			graph("New allocations", "Allocations made. The probe makes one each time.", perSec,
				query(`rate(turnwarden_allocations_created_total{$node}[$__rate_interval])`, "New"), fromZero),
			graph("Refusals", "Requests answered with an error, by STUN error code. 486 and 508 mean full.", perSec,
				query(`sum by (code) (rate(turnwarden_refusals_total{$node}[$__rate_interval]))`, "{{code}}"), fromZero),
			graph("Failed logins", "Logins that failed, by cause. unknown_user also stands for a userdb that cannot be read.", perSec,
				query(`rate(turnwarden_auth_failures_total{$node}[$__rate_interval])`, "{{cause}}"), fromZero),
		}},
		row{"Probe", []panel{
			timeline("Result", "Whether the last probe, a real Allocate, succeeded; whether the server said that it is full; whether the node may be listed.",
				query(`turnwarden_probe_success{$node}`, "Probe {{transport}}"), query(`1 - turnwarden_full{$node}`, "Has room"), query(`turnwarden_ready{$node}`, "Ready"),
				query(`1 - turnwarden_relayed_address_mismatch{$node}`, "Relayed address as configured"), yesNo),
			timeline("Stages", "Where the probe fails. A stage that was not reached, or that the configuration does not allow, shows nothing.",
				query(`turnwarden_probe_stage_success{$node}`, "{{transport}} {{stage}}"), yesNo),
			graph("Time to an allocation", "Time that the server took to grant the probe its allocation, its userdb included: half of them, and all but one in twenty.", seconds,
				query(`histogram_quantile(0.5, sum by (le, transport) (rate(turnwarden_probe_rtt_seconds_bucket{$node}[$__rate_interval])))`, "{{transport}} median"),
				query(`histogram_quantile(0.95, sum by (le, transport) (rate(turnwarden_probe_rtt_seconds_bucket{$node}[$__rate_interval])))`, "{{transport}} p95"), fromZero),
			graph("Duration", "Time a probe took: half of them, and all but one in twenty.", seconds,
				query(`histogram_quantile(0.5, sum by (le, transport) (rate(turnwarden_probe_duration_seconds_bucket{$node}[$__rate_interval])))`, "{{transport}} median"),
				query(`histogram_quantile(0.95, sum by (le, transport) (rate(turnwarden_probe_duration_seconds_bucket{$node}[$__rate_interval])))`, "{{transport}} p95"), fromZero),
			graph("Failures in a row", "Probes that failed in a row; from probe.fail_after on the node is unlisted.", count,
				query(`turnwarden_probe_consecutive_failures{$node}`, "Failures"), fromZero),
			graph("Certificate valid for", "Time until the first of the certificates that clients are shown expires, as read from a handshake.", seconds,
				query(`turnwarden_probe_certificate_expiry_timestamp_seconds{$node} - time()`, "{{transport}}"),
				query(`(turnwarden_probe_certificate_expiry_timestamp_seconds{$node} - turnwarden_probe_certificate_not_before_timestamp_seconds{$node}) / 3`, "{{transport}}: a third of its life"), fromZero),
		}},
		row{"TURN server", []panel{
			timeline("State", "State of the child process.",
				query(stateQuery("turnwarden_child_state", childStates()), "{{instance}}"), stateNames(childStates())),
			graph("Restarts", "Times it was started again, by reason.", count,
				query(`round(increase(turnwarden_child_restarts_total{$node}[$__rate_interval]))`, "{{reason}}"), bars),
			graph("Processor", "Processor cores in use.", count,
				query(`rate(turnwarden_child_process_cpu_seconds_total{$node}[$__rate_interval])`, "turnserver"),
				query(`rate(process_cpu_seconds_total{$node}[$__rate_interval])`, "turnwarden"), fromZero),
			graph("Memory", "Resident and virtual memory of turnserver, resident memory of turnwarden.", size,
				query(`turnwarden_child_process_resident_memory_bytes{$node}`, "turnserver"),
				query(`process_resident_memory_bytes{$node}`, "turnwarden"),
				query(`turnwarden_child_process_virtual_memory_bytes{$node}`, "turnserver, virtual"), limit("turnserver, virtual", "gray"), fromZero),
			graph("File descriptors", "Open descriptors of turnserver, under its limit. Each client over TCP or TLS takes one, each relay address one.", count,
				query(`turnwarden_child_process_open_fds{$node}`, "Open"),
				query(`turnwarden_child_process_max_fds{$node}`, "Limit"), limit("Limit", "red"), fromZero),
			graph("Threads", "Threads of turnserver.", count, query(`turnwarden_child_process_threads{$node}`, "Threads"), fromZero),
			graph("Log lines", "Lines that turnserver wrote, and those that were counted but kept out of the log.", count,
				query(`rate(turnwarden_child_log_lines_total{$node}[$__rate_interval])`, "Written a second"),
				query(`rate(turnwarden_child_log_lines_suppressed_total{$node}[$__rate_interval])`, "Suppressed a second"), fromZero),
		}},
		row{"Credential", []panel{
			graph("Generations", "Generations on record, by state: a rotation takes a new one through pending and verified to active, and the old one to retiring.", count,
				query(`turnwarden_credential_generations{$node}`, "{{state}}"), stacked, fromZero),
			graph("Age", "Age of the credential that is handed out, under the configured interval.", seconds,
				query(`turnwarden_credential_age_seconds{$node}`, "Age"),
				query(`turnwarden_credential_rotation_interval_seconds{$node}`, "Interval"), limit("Interval", "red"), fromZero),
			graph("Rotations", "Attempts to rotate, and those that failed.", count,
				query(`round(increase(turnwarden_credential_rotations_total{$node}[$__rate_interval]))`, "Attempted"),
				query(`round(increase(turnwarden_credential_rotation_failures_total{$node}[$__rate_interval]))`, "Failed"), bars, unstacked),
			graph("Deletes pending", "Users that should be gone from the userdb and are not.", count,
				query(`turnwarden_credential_deletes_pending{$node}`, "Users"), fromZero),
			graph("Transitions", "Steps that generations took, by the state they led to, and those that failed.", count,
				query(`round(increase(turnwarden_credential_transitions_total{$node}[$__rate_interval]))`, "{{to}}"),
				query(`round(increase(turnwarden_credential_transition_failures_total{$node}[$__rate_interval]))`, "{{to}} failed"), bars, unstacked),
			graph("Revoked allocations", "Allocations that were ended because their credential was revoked.", count,
				query(`round(increase(turnwarden_revoked_allocations_total{$node}[$__rate_interval]))`, "Ended"), bars),
		}},
		row{"ZooKeeper", []panel{
			timeline("Session", "State of the session with ZooKeeper.",
				query(stateQuery("turnwarden_zookeeper_session_state", sessionStates()), "{{instance}}"), stateNames(sessionStates())),
			timeline("Record", "Whether the record exists and is ours, and whether another live host holds this node's name.",
				query(`turnwarden_zookeeper_registered{$node}`, "Registered"), query(`1 - turnwarden_zookeeper_conflict{$node}`, "Name is ours"), yesNo),
			graph("Age of the record", "Time since the record was last written. Signalling servers stop using one that stands still for three intervals.", seconds,
				query(`time() - (turnwarden_zookeeper_last_publish_timestamp_seconds{$node} > 0)`, "Age"), fromZero),
			graph("Operations", "Requests to ZooKeeper, and those that failed.", perSec,
				query(`rate(turnwarden_zookeeper_operations_total{$node}[$__rate_interval])`, "{{operation}}"),
				query(`rate(turnwarden_zookeeper_operation_failures_total{$node}[$__rate_interval])`, "{{operation}} failed"), fromZero),
			graph("Expired sessions", "Sessions that ZooKeeper gave up; each takes the record with it until the next one is open.", count,
				query(`round(increase(turnwarden_zookeeper_session_expirations_total{$node}[$__rate_interval]))`, "Expired"), bars),
		}},
		row{"API", []panel{
			graph("Requests", "Requests answered, by route and status code.", perSec,
				query(`sum by (handler, code) (rate(turnwarden_http_request_duration_seconds_count{$node}[$__rate_interval]))`, "{{handler}} {{code}}"), fromZero),
			graph("Duration", "Time within which 95% of the requests were answered, by route.", seconds,
				query(`histogram_quantile(0.95, sum by (le, handler) (rate(turnwarden_http_request_duration_seconds_bucket{$node}[$__rate_interval])))`, "{{handler}}"), fromZero),
			graph("In flight", "Requests that are being answered.", count, query(`turnwarden_http_requests_in_flight{$node}`, "Requests"), fromZero),
		}},
	)
}

func unstacked(p *panel) { delete(p.FieldConfig.Defaults.Custom, "stacking") }

func background(p *panel) { p.Options["colorMode"] = "background" }

func text(mode string) setting { return func(p *panel) { p.Options["textMode"] = mode } }

// yesNo shows 1 as what is wanted.
func yesNo(p *panel) {
	d := &p.FieldConfig.Defaults
	d.Mappings = append(d.Mappings, words(mapped{Text: "no", Color: "red"}, mapped{Text: "yes", Color: "green"}))
	d.Color = map[string]any{"mode": "thresholds"}
}
