"""The store of rows: one seam, queries written once, small backends, one conformance suite.

Law: only this package speaks SQL; it holds no rule. Absent: decisions, clocks, JSON of the API.
"""
