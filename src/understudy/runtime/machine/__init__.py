"""What runs on the machine of a daemon: threads for its loops, the children that they start, notices past the hub."""
