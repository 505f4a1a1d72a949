"""The rules, pure: nouns, leases and TRANSITIONS, health, decisions.

Law: every rule of the state machine lives here, as a table where it is finite. Absent: clocks, threads,
sockets, SQL, logging, randomness. Facts and the time come in, decisions go out.
"""
