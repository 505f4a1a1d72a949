"""Makes the requests for a message, in a plainer form if its own fails: no notice is dropped because of its form."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.errors import ConfigError
from understudy.notify.base import Channel, ChannelSettings, Message
from understudy.wire.outbound import OutboundRequest

BARE_CHARS_MAX = 1000


def requests_of(
    channel: Channel, settings: ChannelSettings, message: Message, *, is_plain: bool = False
) -> tuple[tuple[OutboundRequest, ...], bool]:
    """(the requests, whether they are plain text): as the channel likes it best, else plain, else title and text only.

    ConfigError if it is the channel that cannot be written to at all.
    """
    forms = [] if is_plain else [(message, False)]
    forms += [(message, True), (bare(message), True)]
    for tried, plain in forms:
        try:
            return channel.requests_for(settings, tried, is_plain=plain), plain
        except ConfigError:
            raise
        except Exception:  # noqa: BLE001, S112 - whatever stands in the way of this form: the next one is plainer
            continue
    return channel.requests_for(settings, bare(replace(message, text="", facts=())), is_plain=True), True


def bare(message: Message) -> Message:
    """Only what it is about: no links, facts, threads or edits; ASCII where the rest could not be written."""
    return Message(
        message.key,
        message.kind,
        message.level,
        _ascii(message.title),
        _ascii(message.text),
        chat=message.chat,
        about=message.about,
    )


def _ascii(text: str) -> str:
    return str(text)[:BARE_CHARS_MAX].encode("ascii", "backslashreplace").decode()
