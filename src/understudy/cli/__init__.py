"""The command line: the only code that asks for settings; what it starts is given them.

Law of this room: a command's module is imported only when that command runs, so `--help` costs 150 ms and a
client command 300 ms; errors leave it as one sentence with the fix and a documented exit code (`exits`), never
as a traceback; no secret is printed, put into an address or into the arguments of a process.
"""

import os
import sys

__all__ = ["main"]


INTERRUPTED = 130  # as `exits` says it, which Ctrl-C may keep from being read


def main() -> None:
    """The console script."""
    try:
        code = _run()
    except KeyboardInterrupt:  # while modules are read, or when all is done
        code = INTERRUPTED
    sys.exit(code)


def _run() -> int:
    from understudy.cli.code_path import without_current_directory

    without_current_directory()
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by who started us: the system would bury our children
    from understudy.cli.start import run
    from understudy.cli.streams import open_streams, show_what_can_be_shown

    closed = open_streams()
    if os.getpid() == 1:
        from understudy.cli.first_process import give_way

        give_way()
    show_what_can_be_shown()
    return run(sys.argv[1:], closed)
