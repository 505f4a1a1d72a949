"""Spans of time."""

TEXTS = {
    "span.ms": "{count} ms",
    "span.s": "{count} s",
    "span.m": "{count} min",
    "span.h": "{count} h",
    "span.d": "{count} d",
}
