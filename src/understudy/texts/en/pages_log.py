"""The page about the log."""

TEXTS = {
    "pages.log.search": "Search",
    "pages.log.level": "Level",
    "pages.log.level.any": "All levels",
    "pages.log.level.warning": "Warnings and worse",
    "pages.log.level.critical": "Critical only",
    "pages.log.show": "Show",
    "pages.log.pause": "Pause",
    "pages.log.follow": "Follow again",
    "pages.log.following": "New lines come at the top.",
    "pages.log.paused": "Paused.",
    "pages.log.paused_new": "Paused; there are new lines.",
    "pages.log.whole": "Show the whole log",
    "pages.log.gone": "This line is no longer kept. Here are the lines around its place.",
    "pages.log.lines": "Lines of the log, newest first",
    "pages.log.fields": "Fields: {count}",
    "pages.log.none": "Nothing has happened yet.",
    "pages.log.none_found": "No line matches.",
    "pages.log.pages": "More lines",
    "pages.log.newest": "Newest",
    "pages.log.older": "Older",
}
