"""A package, so that what is scoped to it (`conftest.py`) ends with its last test."""
