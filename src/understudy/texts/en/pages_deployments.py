"""The page of deployments: starts and updates."""

TEXTS = {
    "pages.deployments.hub": "The hub",
    "pages.deployments.hub.what": "Every start of this hub; the last {count} are shown.",
    "pages.deployments.daemons": "Daemons",
    "pages.deployments.daemons.what": "Starts of daemons as their first heartbeat reported them; the last {count} are shown, as far back as the log is searched.",
    "pages.deployments.none": "None in the time that is kept.",
    "pages.deployments.no_version": "version not reported",
    "pages.deployments.from": "updated from {version}",
    "pages.deployments.first": "first seen",
    "pages.deployments.settings": "with other settings",
    "pages.deployments.runs": "running",
    "pages.deployments.fingerprint": "settings {hash}",
}
