"""The store of rows: one seam, two small backends (SQLite now, PostgreSQL later), one conformance suite.

Law: only this package speaks SQL; it holds no rule. Absent: decisions, clocks, JSON of the API.
"""
