"""One run of a task: notes its start, starts a grandchild in a session of its own, waits, notes its end, answers.

`one_run.py DIARY SECONDS`, the task's content on stdin. Only what a plain interpreter has.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

STRAY = "import sys,time; time.sleep(float(sys.argv[1]))"


def note(diary: str, task: str, event: str, **fields: object) -> None:
    entry = {"task": task, "event": event, "at": time.time(), "pid": os.getpid(), **fields}
    with Path(diary).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def main() -> None:
    diary, seconds = sys.argv[1], float(sys.argv[2])
    began = time.time()
    task = sys.stdin.read().strip()
    strays = [
        subprocess.Popen([sys.executable, "-S", "-c", STRAY, "600"], start_new_session=is_apart).pid
        for is_apart in ((False, True) if seconds >= 1 else ())
    ]
    note(diary, task, "start", strays=strays, began=began)
    time.sleep(seconds)
    for pid in strays:
        os.kill(pid, 9)
    note(diary, task, "end")
    print(f"answer to {task}")


main()
