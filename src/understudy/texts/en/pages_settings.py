"""The page of settings."""

TEXTS = {
    "pages.settings.what": "What this hub has run with since its start. To change a setting, set it in the hub's environment or in understudy.toml and start the hub anew. Daemons have settings of their own, on their machines.",
    "pages.settings.filter": "Settings shown",
    "pages.settings.all": "All",
    "pages.settings.only": "Changed",
    "pages.settings.sections": "Sections",
    "pages.settings.secret": "set (not shown)",
    "pages.settings.unset": "not set",
    "pages.settings.empty": "empty",
    "pages.settings.default": "default",
    "pages.settings.none": "Every setting has its default value.",
    "pages.settings.origin.default": "default",
    "pages.settings.origin.file": "from the file",
    "pages.settings.origin.environment": "from the environment:",
    "pages.settings.origin.option": "from the command line:",
    "pages.settings.origin.saved": "made for this hub, saved in",
    "pages.settings.origin.adapted": "adapted to fit the other settings",
}
