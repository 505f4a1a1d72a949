"""The nouns are flat values."""

from __future__ import annotations

import gc

from msgspec import Struct
from msgspec.structs import fields

from understudy.coordinator import nouns
from understudy.coordinator.nouns import Flat, Now, Policy


def test_the_rows_and_the_time_are_flat_and_the_garbage_collector_does_not_follow_them() -> None:
    ours = {one for one in vars(nouns).values() if isinstance(one, type) and one.__module__ == nouns.__name__}
    assert all(issubclass(one, Struct) for one in ours)
    flat = {one for one in ours if issubclass(one, Flat)} - {Flat}
    assert ours - flat == {Flat, Policy}
    for noun in flat:
        assert {field.type for field in fields(noun)} <= {str, int, bytes}, noun
    assert not gc.is_tracked(Now(1, 1))
