"""Threads, queues, sockets and processes: what lets loops and operations run; nothing is decided here.

`hub/` runs on the hub, `machine/` on the machine of a daemon; neither knows the other, and both use what lies beside
them. The simulator is a second runtime.
"""
