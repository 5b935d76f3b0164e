package main

import (
	"fmt"
	"io"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
)

// checkConfig answers without touching the machine: both files of a node, or the one of
// a gateway, nothing else.
func checkConfig(f flags, stdout io.Writer) error {
	if config.IsGateway(f.configFile) {
		if _, err := config.LoadGateway(f.configFile); err != nil {
			return refuse(err)
		}
		fmt.Fprintf(stdout, "%s is valid\n", f.configFile)
		return nil
	}
	conf, err := readFiles(f.configFile)
	if err != nil {
		return refuse(err)
	}
	for _, w := range conf.Warnings {
		fmt.Fprintln(stdout, "warning:", w)
	}
	fmt.Fprintf(stdout, "%s and %s are valid\n", f.configFile, conf.Path)
	return nil
}

// readFiles reads turnwarden.yml, and returns the turnserver.conf that it names.
func readFiles(configFile string) (*coturn.Conf, error) {
	cfg, err := config.LoadNode(configFile)
	if err != nil {
		return nil, err
	}
	return readConf(cfg)
}

// readConf reads turnserver.conf and refuses what turnserver would do but this
// program cannot prove.
func readConf(cfg config.Node) (*coturn.Conf, error) {
	conf, err := coturn.ReadConf(cfg.Coturn.ConfigFile, coturn.Mode(cfg.Credentials.Mode))
	if err == nil && !conf.UDP && !conf.TCP && (!conf.TLS || conf.ClientCertificates) {
		err = fmt.Errorf("%s: no-udp, no-tcp: found, and no TLS that takes clients without a certificate; service is proved over one of the three, or the server would never be listed; remove one of the lines", conf.Path)
	}
	return conf, err
}
