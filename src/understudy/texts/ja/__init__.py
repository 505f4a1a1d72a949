"""The texts in Japanese, one module a noun."""
