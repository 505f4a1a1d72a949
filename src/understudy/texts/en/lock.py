"""The holders of what only one process may use."""

TEXTS = {
    "lock.held": "{what} is in use by process {pid}: stop it first.",
    "lock.data_dir": "The data directory {path}",
    "lock.store": "The store {path}",
}
