"""A hub that needs no thread: one event loop decides, delivers and rings, and one bell brings it back.

Nothing here starts a thread, a process or a socket, and no timer of its own counts: its host sets a bell for the next
step (`set_bell`), and rings then. A host that forgets everything in between begins anew with the same
store: each loop makes a first step at the start, and says when it wants the next.
"""
