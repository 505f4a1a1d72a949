"""Removes secrets from all that is shown, kept or sent: by value, by form, by place (docs/redaction.md lists them).

Absent from here: files, environment, time. A `Redactor` is given the secrets that it must know; it is pure and safe to
share.
"""

from __future__ import annotations

from understudy.redact.redactor import Redactor
from understudy.redact.rules import MASK
from understudy.redact.values import secret_names, secrets_of

__all__ = ["MASK", "Redactor", "secret_names", "secrets_of"]
