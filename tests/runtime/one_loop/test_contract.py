"""The contract of losses holds on one loop too; `make soak` asks for the rest of it."""

# ruff: noqa: F403

from __future__ import annotations

from tests.api.test_losses import *
