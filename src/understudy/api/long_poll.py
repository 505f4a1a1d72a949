"""Claims with `waitSec`: answered the moment a task is there, and no wake-up is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from understudy.api.hub import Hub
from understudy.api.respond import ClientGoneError
from understudy.errors import UnauthorizedError
from understudy.hub.claims import ClaimTasks, NothingYet

LOOK_AGAIN_S = 2.0  # for a daemon that is given no work, and a claim whose batch had no room: so soon it has some
Gone = asyncio.Task[None]  # done when the client has hung up


async def wait_for_work(hub: Hub, claim: ClaimTasks, is_welcome: Callable[[], bool], receive: Any) -> Any:
    """The claim's answer, at the latest after its `waitSec`; ClientGoneError if nobody waits for it any more.

    UnauthorizedError if the key was revoked while it waited.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + (claim.body.wait_sec or 0)
    gone: Gone = loop.create_task(_disconnected(receive))
    try:
        answer = await hub.decide(claim)
        while isinstance(answer, NothingYet) and (left := ends - loop.time()) > 0 and not hub.waiting.is_over:
            if not is_welcome():
                raise UnauthorizedError
            if answer.is_barred:  # it must not take a wake-up from those who may work
                with hub.waiting.barred() as over:
                    wait_s = min(left, LOOK_AGAIN_S)
                    await asyncio.wait((gone, over), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                answer = await hub.decide(claim)
            else:
                answer = await _stand_in_line(hub, claim, answer.provides, is_welcome, gone, ends)
            if gone.done():
                raise ClientGoneError
        return answer.answer if isinstance(answer, NothingYet) else answer
    finally:
        gone.cancel()


async def _stand_in_line(
    hub: Hub, claim: ClaimTasks, provides: frozenset[str], is_welcome: Callable[[], bool], gone: Gone, ends: float
) -> Any:
    """The answer after one wake-up, or at the end of the time. A wake-up of no use here is passed on.

    At the end it is asked once more: the same request, sent anew by a client that heard nothing, may have been granted
    on another connection meanwhile.
    """
    waiter = hub.waiting.join(provides, claim.names)
    has_waited = is_woken = False
    try:
        answer = await hub.decide(claim)  # again: what was committed before the place in the line woke nobody
        if isinstance(answer, NothingYet) and not answer.is_barred and answer.provides == provides:
            left = max(ends - asyncio.get_running_loop().time(), 0)
            if answer.is_short:  # nothing wakes it for tasks that were there before
                left = min(left, LOOK_AGAIN_S)
            await asyncio.wait((waiter, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            has_waited, is_woken = not gone.done(), waiter.done() and not gone.done()
    finally:
        hub.waiting.leave(provides, claim.names, waiter)
        if waiter.done() and not is_woken:
            hub.waiting.pass_on()
    if is_woken and not is_welcome():
        hub.waiting.pass_on()
        raise UnauthorizedError
    return await _look(hub, claim, provides) if has_waited else answer


async def _look(hub: Hub, claim: ClaimTasks, provides: frozenset[str]) -> Any:
    """The answer after a wake-up, which is passed on unless the claim could still have the tasks it was woken for."""
    is_of_use = False
    try:
        answer = await hub.decide(claim)
        is_of_use = not isinstance(answer, NothingYet) or (not answer.is_barred and answer.provides == provides)
    finally:
        if not is_of_use:
            hub.waiting.pass_on()
    return answer


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
