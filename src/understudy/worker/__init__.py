"""The worker: claims tasks, runs them under a guard, renews and reports.

Law of this room: its loops (`claim`, `run`, `report`) and its rules (`guard_policy`) are steps. They yield
effects (`effects`) and share one `WorkerState`; they hold no clock, thread, socket, file, randomness or
process. What touches the machine stands apart: `process_tree`, `guard` (a process of its own), `executors`.
"""
