"""Exit codes in one place, and the errors of a client that lead to them."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from understudy.errors import ConfigError, UnderstudyError


class Exit(IntEnum):
    """Exit codes, by which scripts distinguish outcomes; `understudy --help` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    DEFECT = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT, as shells count
    READER_GONE = 141  # 128 + SIGPIPE


class ClientError(UnderstudyError):
    """A client command could not do what it was asked to."""

    exit_code: ClassVar[Exit] = Exit.FAILED


class UnreachableError(ClientError):
    """The hub did not answer, cannot work now, or what answered is no hub."""

    exit_code = Exit.UNREACHABLE


class RefusedError(ClientError):
    """The key is missing, wrong or may not do this."""

    exit_code = Exit.REFUSED


class AbsentError(ClientError):
    """There is nothing of that name."""

    exit_code = Exit.NOT_FOUND


class RejectedError(ClientError):
    """The hub understood the request and said no (400, 409, 413, 422, 507)."""


def exit_code_of(error: UnderstudyError) -> Exit:
    """The exit code that an error leads to."""
    if isinstance(error, ClientError):
        return error.exit_code
    return Exit.USAGE if isinstance(error, ConfigError) else Exit.FAILED
