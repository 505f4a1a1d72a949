"""The operations of the hub, by noun: each states its needs, then decides on the loaded working set.

Law: an operation reads the working set and returns a Decision; only the batch saves. Absent: asyncio, threads,
sockets, SQL, clocks, logging.
"""
