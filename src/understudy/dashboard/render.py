"""Templates → HTML. The engine is imported when the first page is asked for: most hubs start without a viewer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from understudy import legible
from understudy.clock import iso
from understudy.dashboard.page import Given
from understudy.dashboard.static_files import static_path
from understudy.hub.keys import Caller
from understudy.money import usd_text
from understudy.spans import span
from understudy.texts import t

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

NAME_CHARS_MAX = 64
HINT_CHARS_MAX = 256
TEXT_CHARS_MAX = 10_000


def rendered(template: str, language: str, values: Mapping[str, Any]) -> str:
    """The template with these values; everything in it is escaped."""
    found = _environment().get_template(template)
    words = {"t": partial(_text, language), "th": partial(_text_with_parts, language), "span": partial(_span, language)}
    return found.render(values, language=language, **words)


def _text(language: str, key: str, **values: object) -> str:
    return t(key, language, **values)


def _text_with_parts(language: str, key: str, **values: object) -> Markup:
    """A text with elements in it; whatever else is filled in is escaped."""
    from markupsafe import Markup  # noqa: PLC0415 - with the engine

    return Markup(t(key, language)).format(**values)  # noqa: S704 - a text of ours


def _span(language: str, ms: float) -> str:
    return span(ms, language)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - 25 ms and 3 MiB

    made = Environment(
        loader=PackageLoader("understudy.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "name": name,
        "line": line,
        "whole": whole,
        "plain": plain,
        "usd": usd_text,
        "at": at,
        "iso": iso,
        "mark": mark,
        "who": who,
        "segment": segment,
        "code": code,
    }
    made.globals["static"] = static_path
    return made


def name(raw: object, chars_max: int = NAME_CHARS_MAX) -> Markup:
    """A name from outside: on one line, cut, set apart from the direction of the text around it; whole on hover."""
    from markupsafe import Markup  # noqa: PLC0415 - with the engine

    shown = line(raw, HINT_CHARS_MAX)
    short = _cut(shown, chars_max)
    hint = Markup(' title="{}"').format(shown) if short != shown else Markup("")
    return Markup('<bdi class="name"{}>{}</bdi>').format(hint, short)


def line(raw: object, chars_max: int = HINT_CHARS_MAX) -> str:
    """A text from outside as one line, cut."""
    text = " ".join(str(raw)[: chars_max * 4].split())
    return _cut(legible.line(text), chars_max)


def whole(raw: object, chars_max: int = TEXT_CHARS_MAX) -> str:
    """A text from outside with its lines, cut."""
    return _cut(legible.text(str(raw)[: chars_max + 1]), chars_max)


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def who(key_id: str) -> str:
    """The sender of an act as people call it: a user by his name, a key of the settings by its own."""
    return line(key_id.removeprefix("user:").removeprefix("env:"), NAME_CHARS_MAX)


def mark(raw: str) -> str:
    """A short stand-in for a name from outside, for the id of an element."""
    return hashlib.blake2b(raw.encode("utf-8", "replace"), digest_size=6).hexdigest()


def segment(raw: object) -> str:
    """A name as one part of an address."""
    return quote(str(raw), safe="")


def code(text: str) -> Markup:
    """A text of ours in which `…` marks what is typed or read by a program, with elements for it."""
    from markupsafe import Markup  # noqa: PLC0415 - with the engine

    pieces = text.split("`")
    shown = (Markup("<code>{}</code>" if at % 2 else "{}").format(piece) for at, piece in enumerate(pieces))  # noqa: S704 - two forms of ours
    return Markup("").join(shown)


def plain(raw: Any) -> Any:
    """A part of an answer that is JSON already, as values."""
    return msgspec.json.decode(raw) if isinstance(raw, (msgspec.Raw, bytes, str)) else raw


def at(instant: int | str, form: str = "moment") -> Markup:
    """An instant (ms, or ISO 8601) for people: the browser shows it in its own zone, the whole of it on hover.

    `form` is `moment` (time, with the day if it is another one), `exact` (the same to the second) or `clock` (time).
    """
    from markupsafe import Markup  # noqa: PLC0415 - with the engine

    text = iso(instant) if isinstance(instant, int) else instant
    shown = f"{text[:10]} {text[11 : 19 if form == 'exact' else 16]} UTC"
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(text, form, shown)


class Buttons:
    """The acts of a page as buttons, for those who may use them. All of them submit the one form of the layout."""

    def __init__(self, acts: Mapping[str, Any], caller: Caller) -> None:
        self._acts = acts
        self._caller = caller

    def may(self, act_name: str) -> bool:
        """True if the scopes of the session allow it."""
        return self._caller.may(*self._acts[act_name].endpoint.scopes)

    def __call__(self, act_name: str, label: str, value: tuple[str, object] | None = None, **more: str) -> Markup:
        """A button: `more` are the parts of its address, `confirm` a question before it, `kind` a class."""
        from markupsafe import Markup  # noqa: PLC0415 - with the engine

        if not self.may(act_name):
            return Markup("")
        asked, kind = more.pop("confirm", ""), more.pop("kind", "")
        path = self.path(act_name, **more)
        own = mark(f"{path} {value}")  # so that no button ever becomes another one under the finger
        parts = [Markup('<button type="submit" form="act" id="b-{}" formaction="{}"').format(own, path)]
        if value is not None:
            parts.append(Markup(' name="{}" value="{}"').format(*value))
        parts += [Markup(' data-confirm="{}"').format(asked)] if asked else []
        parts += [Markup(' class="{}"').format(kind)] if kind else []
        parts += [Markup(" data-plain")] if self._acts[act_name].result else []
        return Markup("").join([*parts, Markup(">{}</button>").format(label)])

    def path(self, act_name: str, **parts: str) -> str:
        """The address of an act."""
        return path_of(self._acts[act_name].path, parts)


def path_of(pattern: str, parts: Mapping[str, str]) -> str:
    """An address from its pattern."""
    for key, value in parts.items():
        quoted = segment(value)
        pattern = pattern.replace(f"{{{key}}}", quoted).replace(f"{{{key}:path}}", quoted)
    return pattern


def given_values(given: Given, acts: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values for the template of a fragment."""
    button = Buttons(acts, given.caller)

    def part(name: str, key: bytes, own: Mapping[str, Any]) -> Markup:
        """A part of the fragment; not rendered again if it was lately, for the same key."""
        from markupsafe import Markup  # noqa: PLC0415 - with the engine

        whole_key = (name, given.language, given.scopes, key)
        found = _parts.get(whole_key)
        if found is None:
            if len(_parts) >= PARTS_KEPT_MAX:
                _parts.clear()
            shown = rendered(f"fragments/{name}.html", given.language, {"given": given, "button": button, **own})
            found = _parts[whole_key] = Markup(shown)  # noqa: S704 - it was escaped when it was rendered
        return found

    return {"given": given, "button": button, "part": part, **values}


PARTS_KEPT_MAX = 4_000
_parts: dict[tuple[str, str, frozenset[str], bytes], Markup] = {}
