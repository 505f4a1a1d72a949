"""Hides a process of ours from others of the same user: its environment, memory and open files.

A run has the same user as its daemon, so it could otherwise read the daemon's `/proc/<pid>/environ`, `mem` and `fd`. On
Linux a process that is not dumpable gives them to root only, and cannot be traced. macOS has nothing like it: there
`ps eww` shows the environment to the same user, so keys belong into files (`UNDERSTUDY_API_KEY_FILE`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

PR_SET_DUMPABLE = 4  # linux/prctl.h


def hide() -> bool:
    """Hide this process, and take secrets out of the environment that its children get → whether that is possible.

    `os.environ` still has them, for this process to read. Another program in its place (exec) begins anew.
    """
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - commands that only ask the hub need not read it

    libc = ctypes.CDLL(None)
    is_hidden = bool(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
    for name in _secret_names(os.environ):
        libc.getenv.restype = ctypes.c_void_p
        place = libc.getenv(os.fsencode(name))
        if place:  # what the kernel shows is this very memory
            ctypes.memset(place, 0, len(ctypes.string_at(place)))
        os.unsetenv(name)
    return is_hidden


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for programs that are not ours."""
    hidden = _secret_names(environ)
    return {name: value for name, value in environ.items() if name not in hidden}


def _secret_names(environ: Mapping[str, str]) -> frozenset[str]:
    from understudy.redact import secret_names  # noqa: PLC0415 - `--help` reads neither
    from understudy.store_address import is_postgres  # noqa: PLC0415
    from understudy.worker.executors.child_environment import is_ours  # noqa: PLC0415

    with_password = {"UNDERSTUDY_STORE"} if is_postgres(environ.get("UNDERSTUDY_STORE", "")) else set()
    return frozenset(name for name in environ if is_ours(name)) | secret_names(environ) | with_password
