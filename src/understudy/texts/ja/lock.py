"""The holders of what only one process may use, in Japanese."""

TEXTS = {
    "lock.held": "{what} はプロセス {pid} が使用中です。先にそちらを止めてください。",
    "lock.data_dir": "データディレクトリ {path}",
    "lock.store": "ストア {path}",
}
