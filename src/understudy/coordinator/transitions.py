"""The life of a task as a table; docs/ and the rules read the same one.

```
queued ──claim──> leased ──succeed──> done
   ^                │ │ └──fail───> failed     (or queued again while attempts are left: `try_again`)
   └──release/lose──┘ └────cancel──> cancelled
```
"""

from __future__ import annotations

from understudy.coordinator.nouns import CANCELLED, DONE, FAILED, LEASED, QUEUED

TRANSITIONS: dict[tuple[str, str], str] = {
    (QUEUED, "claim"): LEASED,
    (QUEUED, "cancel"): CANCELLED,
    (QUEUED, "move"): QUEUED,
    (QUEUED, "hurry"): QUEUED,
    # a lease that ended, while nobody else has the task: its token still counts
    (QUEUED, "renew"): LEASED,
    (QUEUED, "succeed"): DONE,
    (QUEUED, "fail"): FAILED,
    (QUEUED, "try_again"): QUEUED,
    (LEASED, "renew"): LEASED,
    (LEASED, "release"): QUEUED,
    (LEASED, "lose"): QUEUED,
    (LEASED, "poison"): FAILED,
    (LEASED, "succeed"): DONE,
    (LEASED, "fail"): FAILED,
    (LEASED, "try_again"): QUEUED,
    (LEASED, "cancel"): CANCELLED,
    # failed by loss (poison), then its result arrives after all
    (FAILED, "succeed"): DONE,
    (FAILED, "fail"): FAILED,
    (FAILED, "try_again"): QUEUED,
    (FAILED, "retry"): QUEUED,
    (CANCELLED, "retry"): QUEUED,
}


def status_after(status: str, event: str) -> str:
    """The next status; KeyError where the table has no such way: a rule asked for the impossible."""
    return TRANSITIONS[status, event]
