"""SMTP as the standard library speaks it, but a server that never comes to the end of its reply fills no memory."""

from __future__ import annotations

import smtplib
from typing import IO

HEARD_BYTES_MAX = 1 << 20  # of one connection; ordinary mail servers say a few KiB


class Smtp(smtplib.SMTP):
    """Without TLS, at least at first."""

    def getreply(self) -> tuple[int, bytes]:
        """Code and text. SMTPServerDisconnected also if the server says too much."""
        if self.file is None and self.sock is not None:
            self.file = _Heard(self.sock.makefile("rb"))
        return super().getreply()


class SmtpOverTls(Smtp, smtplib.SMTP_SSL):
    """With TLS from the first byte."""


class _Heard:
    """The lines of a server, all of which smtplib keeps until the reply is whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = HEARD_BYTES_MAX
        self.close = file.close

    def readline(self, size: int) -> bytes:
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("a reply without end")
        return line
