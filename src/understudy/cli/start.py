"""Runs one command from its arguments to its exit code; every error becomes a sentence here and nowhere else."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from understudy.cli.commands import root
from understudy.cli.exits import Exit, exit_code_of
from understudy.cli.terminal import note
from understudy.errors import UnderstudyError
from understudy.texts import language_from, t

PROGRAM = "understudy"
PLACE_CHARS_MAX = 200
ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)  # of values of other kinds
COMPLETE = "_UNDERSTUDY_COMPLETE"


def run(arguments: list[str], closed: tuple[str, ...] = ()) -> int:
    """Run → exit code. With UNDERSTUDY_DEBUG=1 errors show where they arose."""
    if language_from(os.environ) != "en":
        from understudy.cli.click_words import speak

        speak()
    try:
        arguments = [_as_written(argument) for argument in arguments]
        _refuse_other_encodings(arguments)
        code = _invoked(arguments)
        sys.stdout.flush()
        if "stdout" in closed:
            note(f"{PROGRAM}: {t('cli.stdout_closed')}")
        return code
    except BrokenPipeError:
        _forget_stdout()
        return Exit.READER_GONE
    except BaseException as error:  # noqa: BLE001 - the outermost place: a sentence instead of a traceback
        if os.environ.get("UNDERSTUDY_DEBUG") == "1" and not isinstance(error, SystemExit):
            import traceback

            traceback.print_exc()
        return _reported(error)


def _refuse_other_encodings(arguments: list[str]) -> None:
    """Bytes that are not UTF-8 reach Python as halves of surrogate pairs, which no file, unit or hub takes."""
    for argument in arguments:
        if not is_text(argument):
            raise click.UsageError(t("cli.not_text", place=ascii(argument)))


def _as_written(argument: str) -> str:
    """UTF-8 that Python took for something else, in a locale that knows nothing of it (`LC_ALL=C`)."""
    try:
        return os.fsencode(argument).decode()
    except ValueError:
        return argument


def is_text(value: str) -> bool:
    """True if it can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invoked(arguments: list[str]) -> int:
    """The same as click's `main`, but without its texts and exit codes for Ctrl-C and a broken pipe."""
    if asked := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, PROGRAM, COMPLETE, asked)
    try:
        with root.make_context(PROGRAM, list(arguments)) as context:
            outcome = root.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return int(outcome) if isinstance(outcome, int) else Exit.OK


def _reported(error: BaseException) -> int:
    """Say what happened, unless it was asked for → exit code."""
    match error:
        case SystemExit():
            code = error.code if isinstance(error.code, int) else Exit.FAILED
        case KeyboardInterrupt() | click.Abort():
            code = Exit.INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            note(error.format_message())
            code = Exit.USAGE
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else PROGRAM
            said = " ".join(error.format_message().split())  # click breaks the line before a list of choices
            end = "" if said.endswith((".", "?", "!", "。")) else "."
            code = _said(f"{said}{end} {t('cli.usage_hint', command=path)}", Exit.USAGE)
        case click.ClickException():
            code = _said(error.format_message(), Exit.FAILED)
        case UnderstudyError():
            code = _said(error.message, exit_code_of(error))
        case _:
            code = _said(*_of_surroundings(error))
    return code


def _of_surroundings(error: BaseException) -> tuple[str, Exit]:
    """(sentence, exit code) for what this machine or this shell lacks; anything else is a defect of ours."""
    match error:
        case FileNotFoundError() if not error.filename and _is_directory_gone():
            return t("cli.directory_gone"), Exit.FAILED
        case UnicodeEncodeError():  # of a path or a variable
            return t("cli.not_text", place=ascii(error.object[:PLACE_CHARS_MAX])), Exit.USAGE
        case RuntimeError() if "home directory" in str(error):  # of pathlib, for ~nobody
            return t("config.no_home"), Exit.USAGE
        case RuntimeError() if "new thread" in str(error):  # of threading
            return t("cli.no_thread", reason=error), Exit.FAILED
        case OSError():
            _forget_stdout_if_stuck()
            name = f" ({error.filename})" if error.filename else ""
            return t("cli.os_error", reason=f"{error.strerror or error}", name=name), Exit.FAILED
    return _of_answer(error)


def _of_answer(error: BaseException) -> tuple[str, Exit]:
    """For what a command stumbled over after a hub had answered; without an answer it is a defect of ours."""
    if isinstance(error, ODD) and (url := _heard()):
        return t("cli.client.odd", url=url, kind=type(error).__name__, message=error), Exit.UNREACHABLE
    return t("cli.defect", kind=type(error).__name__, message=error), Exit.DEFECT


def _heard() -> str:
    """The hub whose answer the command worked on; "" if none answered."""
    client = sys.modules.get("understudy.cli.client")
    return str(client.HubClient.heard) if client else ""


def _said(sentence: str, code: Exit) -> Exit:
    with contextlib.suppress(OSError):
        note(f"{PROGRAM}: {sentence}")
    return code


def _is_directory_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - pathlib asks the same
    except OSError:
        return True
    return False


def _forget_stdout_if_stuck() -> None:
    """A full disk behind stdout would cause another error at exit, with another exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        _forget_stdout()


def _forget_stdout() -> None:
    """The reader of our pipe has gone: nothing is flushed into it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
