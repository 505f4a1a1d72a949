"""The JSON of the HTTP API by noun: names, limits, (de)serialisers. camelCase lives only here.

Absent from this package: rules, SQL, time. docs/contract.md is its specification.
"""
