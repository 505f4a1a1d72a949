"""The texts in English, one module a noun."""
