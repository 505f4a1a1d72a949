"""The rule for batches that run beside those of other hubs: they save only what they have locked.

docs/adr/0015-beside-or-alone.md has the reasons. A batch that breaks the rule causes no error: it runs again, alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.nouns import Deployment, Hearing, Memory
from understudy.hub.operation import Operation
from understudy.hub.working_set import WorkingSet
from understudy.store.base import Store
from understudy.store.tables import LOCKED, OWNERS, TABLES

_NOBODY_ELSES = frozenset(
    {
        Memory,  # added under an id that is made of their task's, by what ends that task
        Deployment,  # the start of a hub: it alone says there that it runs
    }
)


class MustBeAloneError(Exception):
    """This batch must not run beside others: nothing of it is kept, and it runs again alone."""


def runs_alone(store: Store, operations: Sequence[Operation]) -> bool:
    """True if a batch of these must be the only one; on a store that is not shared each one is anyway."""
    return not store.is_shared or any(operation.runs_alone for operation in operations)


def refuse_hearing(before: Hearing, after: Hearing) -> None:
    """MustBeAloneError if more than the last instant heard has changed: a gap, a jump, the end of an idle time."""
    if after is not before and replace(after, heard_at=before.heard_at) != before:
        raise MustBeAloneError


def refuse_strange_rows(work: WorkingSet) -> None:
    """MustBeAloneError if the batch saves a row that it has not locked."""
    for noun, changed in work.dirty.items():
        if _are_locked(work, noun, changed):
            continue
        for key, row in changed.items():
            if not _is_own(work, noun, key, row):
                raise MustBeAloneError


def _are_locked(work: WorkingSet, noun: type[Struct], changed: dict[Any, Any]) -> bool:
    """True if all of these rows are saved, and locked or owned by what is: what is usual, seen at once."""
    owners = OWNERS.get(noun, {})
    if not all(changed.values()) or (noun not in LOCKED and len(owners) != 1):
        return False
    if noun in LOCKED:
        return changed.keys() <= work.looked_for[noun]
    ((column, owner),) = owners.items()
    return set(map(attrgetter(column), changed.values())) <= work.looked_for[owner]


def _is_own(work: WorkingSet, noun: type[Struct], key: Any, row: Struct | None) -> bool:
    if noun in LOCKED:
        return key in work.looked_for[noun] and row is not None
    if noun is Hearing or noun in _NOBODY_ELSES:
        return row is not None
    return any(key in work.looked_for[owner] for owner, key in _owners(noun, key, row))


def _owners(noun: type[Struct], key: Any, row: Struct | None) -> Iterator[tuple[type[Struct], Any]]:
    """The owners of a row; of one that is removed only the key is known."""
    keys = TABLES[noun].keys
    parts = key if len(keys) > 1 else (key,)
    for column, owner in OWNERS.get(noun, {}).items():
        name = getattr(row, column) if row is not None else dict(zip(keys, parts, strict=True)).get(column)
        if name:
            yield owner, name
