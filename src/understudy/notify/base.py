"""The inputs and outputs of every channel: pure values, no sockets, no clock."""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import unquote

from msgspec import Struct

from understudy.wire.outbound import OutboundAnswer, OutboundRequest

SECRET_ADDRESSES = frozenset({"slack_webhook", "discord", "webhook", "apprise"})
FORMATS = ("plain", "pagerduty", "teams", "alertmanager")  # of webhooks
HIDDEN_CHARS_MIN = 8  # of a part of a secret address that no reason shows
SECRET_CHARS_MIN = 16  # of one that is masked in every text, if it is not made of words
_HOST = re.compile(r"^[^/?#]*+/?")
_BETWEEN_PARTS = re.compile(r"[/?&=#@:]")
_KEY = re.compile(rf"[A-Za-z0-9_%+~-]{{{SECRET_CHARS_MIN},}}+")
_WORD = re.compile(r"[A-Za-z]*+[0-9]*+")


def is_key(part: str) -> bool:
    """True for a part of an address that looks random: at least half of it is letters mixed with digits.

    `understudy-production`, `k8s-cluster-eu-1` and `mail.example` are words, which any text may contain.
    """
    mixed = (piece for piece in re.split("[^A-Za-z0-9]", part) if not _WORD.fullmatch(piece))
    return _KEY.fullmatch(part) is not None and 2 * sum(map(len, mixed)) >= len(part)


class ChannelSettings(Struct, frozen=True):
    """One configured receiver. `kind` says which channel speaks to it; `address` and `secret` are never logged."""

    name: str  # as routes and `understudy notify test NAME` call it
    kind: str  # slack_webhook | slack | discord | telegram | ntfy | email | webhook | apprise
    address: str = ""  # URL of a webhook or server
    chat: str = ""  # channel, chat or mail address where there is one beside the URL
    secret: str = ""  # token, signing secret or password
    sender: str = ""  # mail only: the address that it comes from
    format: str = "plain"  # webhook only: one of FORMATS
    language: str = "en"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The parts that nobody may see; the address too where who knows it may write there."""
        given = self.address.partition("://")[2].partition("/")[0].rpartition("@")[0].partition(":")[2]
        whole = self.address if self.kind in SECRET_ADDRESSES else ""
        keys = (part for part in self._parts() if is_key(part))
        return tuple(dict.fromkeys(part for part in (self.secret, whole, given, unquote(given), *keys) if part))

    @property
    def hidden(self) -> tuple[str, ...]:
        """All that a service may repeat and nobody may see, the longest first: also short parts of a secret address."""
        parts = {part for part in self._parts() if len(part) >= HIDDEN_CHARS_MIN}
        return tuple(sorted({*self.secrets, self.address, *parts} - {""}, key=len, reverse=True))

    def _parts(self) -> set[str]:
        """Of a secret address: path and query, their segments and values; of Apprise's also what stands as host."""
        if self.kind not in SECRET_ADDRESSES:
            return set()
        behind = self.address.partition("://")[2]
        path = _HOST.sub("", behind)
        begins = behind if self.kind == "apprise" else path
        found = {path, path.partition("?")[0], *_BETWEEN_PARTS.split(begins)}
        return found | {unquote(part) for part in found}


class Message(Struct, frozen=True):
    """A message, already in the receiver's language; each channel shapes it by its own limits."""

    key: str  # stable over retries, and another one for a correction: the dedupe key
    kind: str  # notice | progress | answer
    level: str = "info"  # info | warning | critical | recovered
    title: str = ""
    text: str = ""  # plain text, any length
    facts: tuple[tuple[str, str], ...] = ()  # label, value
    links: tuple[tuple[str, str], ...] = ()  # label, URL
    link_full: str = ""  # where the whole answer can be read, when it does not fit
    chat: str = ""  # instead of the channel's, for an answer in the place of origin
    thread: str = ""  # the thread of origin, or the message to answer
    edits: str = ""  # the ref of an earlier message to change instead of sending a new one
    about: str = ""  # the incident or task: the same in all that is said about it, so that receivers can join them
    at: int = 0  # when this try is made, epoch ms: for dates and signatures; there is no clock down here


class Sent(Struct, frozen=True):
    """It is there; `ref` names the message for edits and threads ("": the service gave none, keep what you had)."""

    ref: str = ""
    remark: str = ""  # what was wrong all the same: somebody of several did not get it


class Later(Struct, frozen=True):
    """Try again; not before `after_ms` if the service said so (0: it said nothing)."""

    reason: str
    after_ms: int = 0
    is_partial: bool = False  # perhaps some of several receivers got it, and get each try


class Refused(Struct, frozen=True):
    """Trying the same again is useless. `as_plain`: the formatting was refused, plain text may pass, once."""

    reason: str
    as_plain: bool = False
    without_edit: bool = False  # what `edits`, else `thread`, names is gone: an answer is sent anew without it too


Outcome = Sent | Later | Refused


class Channel(Protocol):
    """One service. `parts` of a message are sent in order, each until it is `Sent`."""

    def requests_for(
        self, settings: ChannelSettings, message: Message, *, is_plain: bool = False
    ) -> tuple[OutboundRequest, ...]:
        """The requests that say it, at least one; parts beyond the service's limits are split or cut with a link."""
        ...

    def outcome_of(self, settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
        """The meaning of the service's answer."""
        ...
