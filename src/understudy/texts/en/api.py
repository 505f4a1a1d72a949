"""Texts of the API's own pages."""

TEXTS = {
    "api.docs_intro": "Every endpoint of this hub. For programs there is",
}
