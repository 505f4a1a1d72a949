"""A message as plain text, ready for any service: what every channel starts from."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.notify.base import ChannelSettings, Message
from understudy.notify.fitting import Cost, clean, cost_of, cut, one_line, split
from understudy.notify.levels import LEVELS, Level
from understudy.texts import t

TITLE_CHARS_MAX = 140  # Slack's 150, less the sign
LABEL_CHARS_MAX = 100
URL_CHARS_MAX = 1500
LINKS_MAX = 5
NAMED = ("warning", "critical", "recovered")

Pairs = tuple[tuple[str, str], ...]


def ready(message: Message, settings: ChannelSettings) -> Message:
    """`message` with clean texts, short titles and labels, and only links that fit; a notice names its level."""
    word = t(f"channel.level.{message.level}", settings.language) if message.level in NAMED else ""
    title = f"{word}: {message.title}" if word and message.title and message.kind == "notice" else message.title
    return replace(
        message,
        title=_line(title, TITLE_CHARS_MAX),
        text=clean(message.text),
        facts=tuple(
            (_line(label, LABEL_CHARS_MAX) or "–", clean(value).strip() or "–") for label, value in message.facts
        ),
        links=tuple(
            (_line(label, LABEL_CHARS_MAX) or "→", safe_url(url)) for label, url in message.links if safe_url(url)
        )[:LINKS_MAX],
        link_full=safe_url(message.link_full),
    )


def safe_url(url: str) -> str:
    """`url` if it is one of the web and of sane length, without what could end it early; else nothing."""
    url = one_line(clean(url))
    for char, escaped in ((" ", "%20"), ("<", "%3C"), (">", "%3E"), ("|", "%7C"), (")", "%29"), ('"', "%22")):
        url = url.replace(char, escaped)
    return url if url.startswith(("https://", "http://")) and len(url) <= URL_CHARS_MAX else ""


def level_of(message: Message) -> Level:
    """The sign of its level; an unknown one is shown as info."""
    return LEVELS.get(message.level, LEVELS["info"])


def headline(message: Message) -> str:
    """Sign and title, or nothing."""
    return f"{level_of(message).sign}{message.title}" if message.title else ""


def lines(pairs: Pairs) -> str:
    """Facts or links, one a line."""
    return "\n".join(f"{label}: {value}" for label, value in pairs)


def paragraphs(*texts: str) -> str:
    """The `texts` that are not empty, with an empty line between them."""
    return "\n\n".join(text for text in texts if text.strip())


def whole(message: Message, settings: ChannelSettings) -> str:
    """Everything as plain text: title, text, facts, links."""
    said = paragraphs(headline(message), message.text, lines(message.facts), lines(message.links))
    return said or t("channel.empty", settings.language)


def fitting(pairs: Pairs, *, count: int, value_max: int, total_max: int, cost: Cost) -> tuple[Pairs, Pairs]:
    """The pairs that fit a service's fields, and those that must be said in the text instead."""
    fit: list[tuple[str, str]] = []
    rest: list[tuple[str, str]] = []
    for label, value in pairs:
        spent = cost_of(label + value, cost)
        if len(fit) < count and cost_of(value, cost) <= value_max and spent <= total_max:
            fit.append((label, value))
            total_max -= spent
        else:
            rest.append((label, value))
    return tuple(fit), tuple(rest)


def parts_of(
    text: str,
    message: Message,
    settings: ChannelSettings,
    limit: int,
    cost: Cost,
    *,
    parts_max: int,
    is_fenced: bool = True,
) -> list[str]:
    """`text` in parts; progress is always one part, since only one message is edited."""

    def note(count: int) -> str:
        plain = "\n" + t("channel.more", settings.language, count=count)
        linked = "\n" + t("channel.more_at", settings.language, count=count, url=message.link_full)
        return linked if message.link_full and cost_of(linked, cost) <= limit // 2 else plain

    parts_max = 1 if message.kind == "progress" else parts_max
    parts = split(text, limit, cost, parts_max=parts_max, note=note, is_fenced=is_fenced and "```" in text)
    return parts or [t("channel.empty", settings.language)]


def _line(text: str, chars_max: int) -> str:
    return cut(one_line(clean(text)), chars_max)
