"""The names that browsers give themselves, as people know them."""

from __future__ import annotations

# the first that is in the text: most of them name others as well
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("Vivaldi/", "Vivaldi"), ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
    ("curl/", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"), ("Windows", "Windows"),
    ("Mac OS X", "macOS"), ("Macintosh", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def browser_name(agent: str) -> str:
    """`Safari, iPhone` from a `User-Agent` header; "" if it says nothing that is known."""
    found = (next((name for word, name in words if word in agent), "") for words in (_BROWSERS, _SYSTEMS))
    return ", ".join(filter(None, found))
