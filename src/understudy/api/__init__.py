"""The HTTP API: a table of endpoints, keys and limits before them, errors to responses in one place.

Law: no rule lives here; an endpoint turns a request into an operation or a view. Absent: SQL, clocks.
"""
