"""The bounds of a hub: bytes, sets of needs, daemons, keys, and the share of each key; counted over a whole batch."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.coordinator.nouns import Policy, Task, Usage
from understudy.errors import StoreFullError
from understudy.store.base import Room, Transaction
from understudy.store.queries import VALID_KEYS

DAEMONS_MAX = 10_000  # that a hub knows at once
NEEDS_SETS_MAX = 1_000  # different sets of needs among unfinished tasks: a claim looks at each set that is claimable
KEYS_MAX = 10_000  # that are valid at once
MIB = 1 << 20


class Bounds:
    """The use of each bound so far, and what the requests of this batch have taken of the rest."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._room = Room(0, 1 << 62)
        self._daemons = self._keys = 0
        self._asked_needs: set[str] = set()
        self._new_needs: set[str] = set()
        self._needs_sets = 0
        self._grown: dict[str, tuple[int, int]] = {}  # unfinished tasks and bytes by key: what this batch changes

    def load(self, tx: Transaction, new_needs: set[str], *, room: bool, daemons: bool, keys: bool) -> None:
        """Count what is asked for."""
        if room:
            self._room = tx.room()
        if daemons:
            self._daemons = sum(tx.daemon_states().values())
        if keys:
            self._keys = tx.count(VALID_KEYS, limit=KEYS_MAX)
        if asked := new_needs - self._asked_needs:  # the requests of one batch ask in two rounds
            new, needs_sets = tx.new_needs(asked, NEEDS_SETS_MAX)
            self._asked_needs |= asked
            self._new_needs |= new
            self._needs_sets = max(self._needs_sets, needs_sets)

    def take(self, size_bytes: int, tasks: Sequence[Task] = (), share: Usage | None = None) -> None:
        """Take room for so many more bytes and for these new unfinished tasks.

        `share` is what their key had used before this batch; None: the key has no share to keep to.
        StoreFullError when there is too little room; then nothing is taken.
        """
        if size_bytes:
            self._look_for_room(size_bytes)
        if share is not None:
            self._look_for_share(share, len(tasks), size_bytes)
        if self._new_needs:
            self._take_sets({task.needs for task in tasks} & self._new_needs)
        self._room.take(size_bytes)

    def take_daemon(self) -> None:
        """Count one that this hub does not know yet; StoreFullError for one more than a hub knows at once."""
        if self._daemons >= DAEMONS_MAX:
            raise StoreFullError(f"This hub knows {DAEMONS_MAX} daemons: forget some", "too_many_daemons")
        self._daemons += 1

    def take_key(self) -> None:
        """Count one more that is valid; StoreFullError for one that a hub would not know."""
        if self._keys >= KEYS_MAX:
            raise StoreFullError(f"{KEYS_MAX} keys are valid: revoke those that nobody uses", "too_many_keys")
        self._keys += 1

    def has_room(self, size_bytes: int) -> bool:
        """True if so much more is within the bounds of store and disk."""
        return self._fits_store(size_bytes) and self._fits_disk(size_bytes)

    def add(self, size_bytes: int) -> None:
        """Count bytes that are taken without asking for room."""
        self._room.take(size_bytes)

    def _fits_store(self, size_bytes: int) -> bool:
        return self._room.used_bytes + size_bytes <= self._policy.store_bytes_max

    def _fits_disk(self, size_bytes: int) -> bool:
        return self._room.free_bytes - size_bytes >= self._policy.disk_free_bytes_min

    def _look_for_room(self, size_bytes: int) -> None:
        if not self._fits_store(size_bytes):
            raise StoreFullError("The store is full: wait for retention, or allow it more (store_mb_max)")
        if not self._fits_disk(size_bytes):
            raise StoreFullError("The hub's disk is nearly full: free some of it", "disk_full")

    def _take_sets(self, new: set[str]) -> None:
        if self._needs_sets + len(new) > NEEDS_SETS_MAX:
            raise StoreFullError(f"More than {NEEDS_SETS_MAX} different sets of needs wait", "too_many_needs")
        self._new_needs -= new
        self._needs_sets += len(new)

    def _look_for_share(self, share: Usage, tasks: int, size_bytes: int) -> None:
        grown_tasks, grown_bytes = self._grown.get(share.submitter, (0, 0))
        if share.open_tasks + grown_tasks + tasks > (most := self._policy.key_tasks_max):
            message = f"More than {most} tasks of this key are unfinished: wait for them, cancel some,"
            raise StoreFullError(f"{message} or allow a key more (key_tasks_max)", "key_tasks")
        if share.size_bytes + grown_bytes + size_bytes > (most := self._policy.key_bytes_max):
            message = f"Tasks of this key fill its share of the store ({most // MIB} MiB): wait for retention,"
            raise StoreFullError(f"{message} or allow a key more (key_store_percent)", "key_full")

    def follow(self, old: Task | None, new: Task) -> None:
        """Count a task that was added, has ended or begins anew."""
        was_open = 0 if old is None or old.finished_at else 1
        tasks = (0 if new.finished_at else 1) - was_open
        size_bytes = new.size_bytes if old is None else 0
        if tasks or size_bytes:
            grown_tasks, grown_bytes = self._grown.get(new.submitter, (0, 0))
            self._grown[new.submitter] = grown_tasks + tasks, grown_bytes + size_bytes

    def grown(self) -> list[Usage]:
        """The additions of this batch to the use of each key."""
        return [Usage(submitter, *more) for submitter, more in self._grown.items() if any(more)]
