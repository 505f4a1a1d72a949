"""A command of the system, played: hands its arguments to the test that stands behind it, says what comes back.

Run as `python -I -S system_command.py SOCKET NAME ARGUMENTS…`; scripts of that NAME on the PATH do. It is run a
hundred times in a test: it imports nothing but what the interpreter has in it, and words are parted by NUL.
"""

import _socket  # `socket` brings selectors and enums along: three times the start of an interpreter
import os
import sys


def main() -> None:
    there = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    there.connect(sys.argv[1])
    there.sendall(b"\0".join(map(os.fsencode, sys.argv[2:])))
    there.shutdown(_socket.SHUT_WR)
    answer = b""
    while chunk := there.recv(65536):
        answer += chunk
    code, out, err = answer.split(b"\0")
    for number, said in ((1, out), (2, err)):
        while said:
            said = said[os.write(number, said) :]  # noqa: PLW2901
    os._exit(int(code))


if __name__ == "__main__":
    main()
