"""A real reverse proxy in front of a hub: Caddy or nginx as Debian packs them. Without either the test is skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.processes import free_port

START_WITHIN_S = 20.0
CADDY = """{{
    admin off
    auto_https off
    storage file_system {folder}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{hub_port}
}}
"""
NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    map $http_upgrade $offered {{ default upgrade; '' ''; }}
    upstream hub {{ server 127.0.0.1:{hub_port}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://hub; proxy_http_version 1.1; proxy_request_buffering off;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $offered;
        }}
    }}
}}
"""
NAMES = ("caddy", "nginx")


@contextmanager
def proxy(name: str, hub_port: int, folder: Path) -> Iterator[int]:
    """The port of a running proxy in front of the hub."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"NO {name.upper()}: this attack was not tried behind it (apt-get install {name})")
    folder.mkdir(parents=True)
    port = free_port()
    file = folder / "config"
    file.write_text((CADDY if name == "caddy" else NGINX).format(port=port, hub_port=hub_port, folder=folder))
    run = [program, "run", "--adapter", "caddyfile", "--config", file] if name == "caddy" else [program, "-c", file]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )  # fmt: skip
    try:
        _wait_for(port, child, folder)
        yield port
    finally:
        child.terminate()
        child.wait(20)


def _wait_for(port: int, child: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"The proxy did not start: {(folder / 'log').read_text('utf-8', 'replace')[-2000:]}")
