"""Failures of launchd and systemd, and their fixes."""

TEXTS = {
    "service.absent": "the service is not installed ({path} does not exist). `understudy service install` installs it.",
    "service.secret_in_argv": "the command of the service contains a key or token: it would be visible in a file and in every list of processes. Pass it in UNDERSTUDY_TASK_ENV_PASS or in a file instead.",
    "service.launchd.not_gone": "launchd does not release {target} ({said}). Once its program has ended, the service is off: `understudy service restart {role}` turns it on. If launchd still does not release it then, log out and in again, or restart the machine.",
    "service.launchd.unseen": "launchd does not say whether it has loaded {target} ({said}). Run this again.",
    "service.launchd.bootstrap": "launchd refuses to load {target}: {said}. The service is off: `understudy service restart {role}` turns it on. `launchctl print {target}` shows more.",
    "service.launchd.no_gui": "launchd has no session for you ({said}): a user agent needs somebody who is logged in at the screen. Log in there (or switch on automatic login), then run this again.",
    "service.launchd.parked": "launchd has parked {target} ({why}) and does not start it, not even with kickstart. Switch off Low Power Mode, log out and in again; the log: {log}",
    "service.launchd.not_running": "launchd has loaded {target}, but it does not run (last exit code: {why}). The log: {log}",
    "service.systemd.no_manager": "your systemd user manager cannot be reached ({said}). Log in on this machine itself or by ssh (not by su), or run `sudo loginctl enable-linger $USER` and log in again. Without systemd, run `understudy daemon` under your own supervisor.",
    "service.systemd.failed": "systemd could not {verb} {unit}: {said}. Its output: `{log}`",
    "service.unwritable": "{word} contains a control character, or is not UTF-8: it cannot be written into a unit or plist. Put it into a script, and name that.",
}
