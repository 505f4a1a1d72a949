"""A hub as a Cloudflare Worker: one Durable Object is one hub, on its storage and alarm; its own requests use `fetch`.

Only `entry` and `javascript` import what exists nowhere else (`js`, `pyodide`, `workers`); all other modules run, and
are tested, everywhere. Absent: threads, files, sockets, and any state in memory that an eviction would lose.
"""
