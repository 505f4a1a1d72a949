"""Spans of time."""

TEXTS = {
    "span.ms": "{count} ミリ秒",
    "span.s": "{count} 秒",
    "span.m": "{count} 分",
    "span.h": "{count} 時間",
    "span.d": "{count} 日",
}
