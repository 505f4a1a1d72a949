"""Runs one command from its arguments to its exit code; every error becomes a sentence here and nowhere else."""

from __future__ import annotations

import os
import sys

import click

from understudy.cli.commands import root
from understudy.cli.exits import Exit, exit_code_of
from understudy.errors import UnderstudyError
from understudy.texts import language_from, t

PROGRAM = "understudy"


def run(arguments: list[str]) -> int:
    """Run → exit code. With UNDERSTUDY_DEBUG=1 errors show where they arose."""
    if language_from(os.environ) != "en":
        from understudy.cli.click_words import speak

        speak()
    try:
        outcome = root.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
        return int(outcome) if isinstance(outcome, int) else Exit.OK
    except BrokenPipeError:
        _forget_stdout()
        return Exit.READER_GONE
    except BaseException as error:
        if os.environ.get("UNDERSTUDY_DEBUG") == "1" and not isinstance(error, SystemExit):
            import traceback

            traceback.print_exc()
        return _told(error)


def _told(error: BaseException) -> int:
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else Exit.FAILED
        case KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            print(error.format_message(), file=sys.stderr)  # noqa: T201
            return Exit.USAGE
        case click.UsageError():
            _say(_usage(error))
            return Exit.USAGE
        case click.ClickException():
            _say(error.format_message())
            return Exit.FAILED
        case UnderstudyError():
            _say(error.message)
            return exit_code_of(error)
        case OSError():
            _say(t("cli.os_error", reason=f"{error.strerror or error}", name=f" ({error.filename})" if error.filename else ""))
            return Exit.FAILED
        case _:
            _say(t("cli.defect", kind=type(error).__name__, message=error))
            return Exit.DEFECT


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else PROGRAM
    return f"{error.format_message()} {t('cli.usage_hint', command=path)}"


def _say(sentence: str) -> None:
    try:
        print(f"understudy: {sentence}", file=sys.stderr)  # noqa: T201
    except OSError:
        return


def _forget_stdout() -> None:
    """The reader of our pipe has gone: nothing is flushed into it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
