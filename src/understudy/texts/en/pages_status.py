"""The status page for everybody."""

TEXTS = {
    "pages.status.title": "Status",
    "pages.status.at": "As of {time}",
    "pages.status.again": "Look again",
    "pages.status.daemons": "Daemons",
    "pages.status.daemon": "Daemon {number}",
    "pages.status.worst.bad": "There is a problem",
    "pages.status.worst.calm": "Nothing is wrong, but not all are at work",
    "pages.status.ended": "{begin} to {end}",
    "pages.status.lasts": "since {begin}, still lasts",
    "pages.status.no_incident": "None in the last 7 days.",
}
