"""Process 1 of a container: it buries every orphan and passes signals on; the program itself is its only child.

Without it each orphan that ends below a run stays as a zombie, until no process can be started. The program itself
cannot bury them: by waiting for any child it would also take the ends of children that its own code waits for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
LAST_S = 10.0  # for the guard of a daemon that died: it ends the runs and gives their tasks back
LOOK_S = 0.05


def give_way() -> None:
    """Go on as a child of this process, which never returns from here.

    Where there can be no child (a limit of one process), this process goes on, and nobody buries orphans.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        child = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    if child:
        for number in PASSED_ON:
            signal.signal(number, lambda got, _: _pass_on(child, got))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os._exit(bury(child))
    _take_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def bury(child: int) -> int:
    """Wait for every process that ends, until the child does → its exit code, as a shell counts."""
    code = 0
    with contextlib.suppress(ChildProcessError):
        pid = 0
        while pid != child:
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
        _bury_the_rest()
    return 128 - code if code < 0 else code


def _bury_the_rest() -> None:
    """The processes that are left get some time. ChildProcessError if there are none."""
    until_s = time.monotonic() + LAST_S
    while time.monotonic() < until_s:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            time.sleep(LOOK_S)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _take_terminal() -> None:
    """A group of its own, in front: a Ctrl-C at the terminal comes once, and not through process 1 again."""
    os.setpgid(0, 0)
    if not sys.stdin.isatty():
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
    signal.signal(signal.SIGTTOU, before)
