"""The hub's process: the server and the parts behind it, one writer, threads for its loops and for reads."""
