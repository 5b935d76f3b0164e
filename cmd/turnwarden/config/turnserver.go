package config

import (
	"fmt"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Turnserver reads turnserver.conf and refuses what turnserver would do but this program
// cannot prove.
func (n Node) Turnserver() (*coturn.Conf, error) {
	conf, err := coturn.ReadConf(n.Coturn.ConfigFile, coturn.Mode(n.Credentials.Mode))
	if err == nil && !conf.UDP && !conf.TCP && (!conf.TLS || conf.ClientCertificates) {
		err = fmt.Errorf("%s: no-udp, no-tcp: found, and no TLS that takes clients without a certificate; service is proved over one of the three, or the server would never be listed; remove one of the lines", conf.Path)
	}
	return conf, err
}
