"""`GET /metrics`: what Prometheus scrapes (docs/metrics.md). The table says what there is, and how it is read."""
