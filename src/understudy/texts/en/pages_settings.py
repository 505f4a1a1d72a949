"""The page of settings."""

TEXTS = {
    "pages.settings.what": "The settings this hub has used since it started. To change one, set it in the hub's environment or in understudy.toml, then restart the hub. Each daemon has its own settings, on its machine.",
    "pages.settings.filter": "Settings shown",
    "pages.settings.all": "All",
    "pages.settings.only": "Changed",
    "pages.settings.counted": "{count}",
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
