"""A command of the system, played: hands its arguments to the test that stands behind it, says what comes back.

Run as `python system_command.py SOCKET NAME ARGUMENTS…`; scripts of that NAME on the PATH do.
"""

from __future__ import annotations

import json
import shlex
import socket
import sys
from pathlib import Path

CLIENT = """#!/bin/sh
exec {python} -I -S {file} {socket} {name} "$@"
"""


def put_on_path(folder: Path, name: str, address: Path) -> None:
    """A command `name` in `folder` that asks whoever listens at `address`."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    words = {"python": sys.executable, "file": __file__, "socket": str(address), "name": name}
    script.write_text(CLIENT.format(**{key: shlex.quote(word) for key, word in words.items()}))
    script.chmod(0o755)


def main() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.connect(sys.argv[1])
        there.sendall(json.dumps(sys.argv[2:]).encode() + b"\n")
        with there.makefile("r", encoding="utf-8") as answer:
            code, out, err = json.loads(answer.read())
    sys.stdout.write(out)
    sys.stderr.write(err)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
