"""The JSON of the HTTP API by noun: names, limits, (de)serialisers. New shapes belong here, in camelCase by `rename`.

Absent from this package: rules, SQL, time. docs/contract.md is its specification.
"""
