// turnwarden under pm2, for hosts where pm2 runs everything else:
//   pm2 start ecosystem.config.cjs && pm2 save
// Run pm2 as coturn's user, turnserver: nothing here needs root but a port below 1024.
module.exports = {
  apps: [
    {
      name: 'turnwarden',
      script: '/usr/bin/turnwarden',
      args: 'run --config.file=/etc/turnwarden/turnwarden.yml',
      interpreter: 'none',
      exec_mode: 'fork', // a cluster would be several turnservers on one port

      // SIGINT for turnwarden alone, which unlists the node, drains and ends turnserver. By
      // default pm2 signals every process of the tree, and the calls end before anything else.
      treekill: false,
      // Then SIGKILL. More than coturn.drain_timeout + coturn.stop_timeout + 15 s.
      kill_timeout: 60000,

      // 2 is a mistake that a person has to mend. A panic of Go has that code, too: crash makes
      // it a signal. Not 0, which is what pm2 makes of every signal: it would end at a SIGKILL.
      // After `turnwarden drain` pm2 therefore starts it again: use drain --then hold, or pm2 stop.
      stop_exit_codes: [2],
      env: { GOTRACEBACK: 'crash' },
      // No restart_delay: with one, pm2 shows "waiting restart" for what it has stopped for good.
      max_restarts: 1000000,
      watch: false,
    },
  ],
};
