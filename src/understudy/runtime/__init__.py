"""Threads, queues, asyncio and sockets: the only package that owns them. The simulator is a second runtime.

Law: nothing is decided here; loops and operations come from above and below, this package lets them run.
"""
