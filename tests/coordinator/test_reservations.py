"""Work that has begun stays with its machine, whatever becomes of the claims in between."""

from __future__ import annotations

from understudy.coordinator import leases
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import Now, Policy, Task

POLICY = Policy()
T0 = 1_770_000_000_000
GRANT = Grant("mini", "mini", "boot-2", on_loss="wait")


def later(ms: int) -> Now:
    return Now(T0 + ms, T0 + ms)


def claimed_again() -> Task:
    """A task that began under a lease of `mini`, was lost, and was claimed by `mini` once more."""
    first = leases.claim(Task("t"), GRANT, later(0), POLICY).noun
    named = leases.renew(first, later(1))
    assert named is not None
    lost = leases.lose(named.noun, later(2), POLICY, "lost", "started anew").noun
    assert lost.waiting_for == "mini"
    return leases.claim(lost, GRANT, later(3), POLICY).noun


def test_a_second_claim_whose_answer_was_lost_does_not_free_begun_work() -> None:
    again = claimed_again()
    assert again.expires_h == later(3).h + POLICY.lease_ms  # as short as any until it is named
    expired = leases.lose(again, later(30_003), POLICY, "expired", "silence").noun
    assert (expired.ready, expired.waiting_for) == (0, "mini")


def test_begun_work_that_is_given_back_unstarted_waits_all_the_same() -> None:
    renewed = leases.renew(claimed_again(), later(4))
    assert renewed is not None
    given_back = leases.release(renewed.noun, later(5), POLICY, "not_started").noun
    assert (given_back.ready, given_back.waiting_for) == (0, "mini")


def test_a_claim_of_fresh_work_that_was_never_named_reserves_nothing() -> None:
    fresh = leases.claim(Task("t"), GRANT, later(0), POLICY).noun
    expired = leases.lose(fresh, later(30_000), POLICY, "expired", "silence").noun
    assert (expired.ready, expired.waiting_for) == (1, "")
