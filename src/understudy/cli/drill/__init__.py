"""`understudy drill`: the whole story, from a killed daemon to its recovery, on real processes in under a minute.

Law of this room: the hub, the daemon, the receivers and the data are the drill's own, on loopback and in a folder of
their own; the environment of the owner does not reach them, and nothing of them is left. Only `live.py` speaks to a
deployment, and says before what it will do.
"""
