// turnwarden under pm2, as it is run where pm2 runs everything else:
//   pm2 start ecosystem.config.cjs && pm2 save
// A restart ends the calls, but no credential; `turnwarden drain --then hold` empties a node first.
module.exports = {
  apps: [
    {
      name: 'turnwarden',
      script: '/usr/bin/turnwarden',
      args: 'run --config.file=/etc/turnwarden/turnwarden.yml',
      interpreter: 'none',
      exec_mode: 'fork', // a cluster would be several turnservers on one port

      // pm2 sends SIGINT, and SIGKILL after this time. It has to be above coturn.drain_timeout +
      // coturn.stop_timeout + 15 s, for a killed turnwarden takes the calls along.
      kill_timeout: 60000,
      // Exit code 2 is a mistake in the configuration: a person has to mend it. 0 is a drain's end.
      stop_exit_codes: [0, 2],
      restart_delay: 3000,
      max_restarts: 1000000,

      // Only turnserver itself needs root, and only for a port below 1024: run pm2 as turnserver.
      autorestart: true,
      watch: false,
    },
  ],
};
