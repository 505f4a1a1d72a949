"""The entry of a Worker, as its owner has it."""

from understudy.cloudflare.entry import Default, TaskCoordinator

__all__ = ["Default", "TaskCoordinator"]
