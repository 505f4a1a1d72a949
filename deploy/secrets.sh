#!/bin/sh
# Makes the three secrets that compose.yaml and the systemd units read, each in a file of its own; none is replaced.
# Containers read them as another user, so the files are closed by their directory.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
for name in store-password api-key admin-key; do
	[ -s "secrets/$name" ] || (umask 022 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"secrets/$name")
done
