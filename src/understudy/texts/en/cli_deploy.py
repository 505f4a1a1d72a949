"""The command that writes what a deployment needs."""

TEXTS = {
    "cli.deploy.help": "Run a hub where there is no server.",
    "cli.deploy.init": "Write the files of a deployment into a new directory.",
    "cli.deploy.init.cloudflare": "Write wrangler.jsonc, the entry and the list of dependencies of a hub as a Cloudflare Worker into DIR, and say what to do next. Nothing is uploaded, and no file that is there is touched. See docs/cloudflare.md.",
    "cli.deploy.taken": "{path} is there already, so nothing was written. Choose another directory.",
    "cli.deploy.step.go": "{number}. Go there:",
    "cli.deploy.step.install": "{number}. Fetch the packages for the Python of a Worker:",
    "cli.deploy.step.try": "{number}. See whether wrangler accepts it (Node 22 or newer):",
    "cli.deploy.step.deploy": "{number}. Deploy. Without a key the hub answers 503 and says so in its log:",
    "cli.deploy.step.secrets": "{number}. Give it its keys; daemons and commands use the first one with the Worker's address as WORKERS_URL:",
}
