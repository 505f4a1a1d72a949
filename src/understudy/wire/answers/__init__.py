"""Answers of the hub, by noun: structs that are encoded once, and from which OpenAPI's schemas are made.

Each is an `Answer`. A key that may be absent is UNSET, and only such a field has a default; None is a null on the wire.
JSON that is stored in the shape in which it is shown is copied, not parsed and written again (`as_stored`).
"""
