"""What the hub does, by noun: each request states its needs, then decides on the loaded working set.

Law: an operation reads the working set and returns a Decision; only the batch saves. Absent: asyncio, threads,
sockets, SQL, clocks, logging.
"""
