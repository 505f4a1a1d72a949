"""What runs on the hub: the server and the parts behind it, one writer, threads for its loops and for what reads."""
