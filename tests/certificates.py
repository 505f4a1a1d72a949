"""Certificates that only their owner trusts, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path, common_name: str, *names: str) -> Path:
    """`cert.pem` and `key.pem` for these names (`DNS:…`, `IP:…`) → the folder; skipped without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={common_name}"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    added = ["-addext", f"subjectAltName={','.join(names)}"]
    subprocess.run([*argv, *added, *files], check=True, capture_output=True)
    return folder
