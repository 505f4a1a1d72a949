"""The daemon's process: threads for its loops, the children that they start, notices past the hub."""
