"""The one catalogue: every text a person sees, English and Japanese, by key.

A language is a package with one module a noun, each holding a dict `TEXTS`. What programs read (wire
errors, event names, kept log lines) is not in here and is never translated.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from functools import cache

LANGUAGES = ("en", "ja")


def language_from(environ: dict[str, str] | os._Environ[str]) -> str:
    """The language asked for by `UNDERSTUDY_LANG`, else by the locale, else English."""
    for name in ("UNDERSTUDY_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = environ.get(name, "")
        if value:
            return "ja" if value.lower().startswith("ja") else "en"
    return "en"


@cache
def catalogue(language: str) -> dict[str, str]:
    """All texts of one language by key."""
    package = importlib.import_module(f"understudy.texts.{language}")
    texts: dict[str, str] = {}
    for module in pkgutil.iter_modules(package.__path__):
        texts.update(importlib.import_module(f"{package.__name__}.{module.name}").TEXTS)
    return texts


@cache
def _chosen() -> str:
    return language_from(os.environ)


def t(key: str, /, language: str = "", **values: object) -> str:
    """The text of `key` in the reader's language, with `values` filled in; KeyError if unknown."""
    text = catalogue(language or _chosen())[key]
    return text.format(**values) if values else text
