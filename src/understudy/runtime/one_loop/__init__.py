"""A hub that needs no thread: one event loop decides, delivers and rings the alarm; one bell of its host wakes it.

Nothing here starts a thread, a process or a socket, or relies on a timer of its own. The hub says when its next step is
due (`set_bell`), and its host rings then. If the host forgets the hub in between, it starts it again on the same store:
each loop makes a first step at the start, and says when the next one is due.
"""
