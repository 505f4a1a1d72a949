"""`understudy status --watch`: the home page in a terminal, pushed by the hub's event stream.

One thread follows the stream, one reads the state when something has happened, the main one draws. A hub that does not
answer ends nothing: what is shown says since when it is stale, and goes on by itself.
"""
