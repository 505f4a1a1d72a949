"""Connections: whether each has shown a valid key, and its traffic in memory. Every count has a bound.

A connection that has shown no valid key is *unknown*. Only few of these are kept: a new one closes the oldest one of
the address that has the most. A connection that has shown a valid key is *established*, and belongs to the first key
that it shows. It is not closed for unknown ones, except when the hub is full and it is at rest or waits for its client:
then the key that has more than its part of all places loses one first.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from understudy.errors import UnavailableError

UNKNOWN_PART = 8  # one part in so many of all connections is for the unknown, and half of that part for one address
NEWCOMERS_PART = 16  # of that part, which the unknown keep when the hub is full: else they would push out each other
KEY_PART = 4  # a key with more than one part in so many loses its own connections before others lose theirs
BODIES_BYTES_MAX = 128 << 20  # request bodies that are not decided yet, over all connections
BODIES_OF_KEY_MAX = BODIES_BYTES_MAX // 2  # of one key, so that no key takes the room of another
SMALL_BYTES = 32 << 10  # a beat, a renewal, a claim: always read, whatever the others hold
UNREAD_BYTES_MAX = 128 << 20  # answers that wait to be read, over all connections
WAITING_BYTES_MAX = 64 << 20  # unfinished heads, bodies not read yet, requests sent ahead of answers, over all


class ClientConnection(Protocol):
    """One connection, as far as this room is concerned."""

    address: str
    crowd: Connections

    @property
    def is_at_rest(self) -> bool:
        """True if it is between two requests, and what was answered is not in memory any more: it may be cut off."""

    @property
    def waits_for_client(self) -> bool:
        """True if it goes on only once its client sends the rest of a head or body, or reads its answers."""

    @property
    def unread_bytes(self) -> int:
        """Bytes of its answers that wait in memory."""

    def drop(self) -> None:
        """Close it now."""


def address_of(client: Any) -> str:
    """The address that is counted: an IPv4 in IPv6 is the IPv4, an IPv6 is its /64, which belongs to one subscriber."""
    host = str(client[0]) if client else ""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found) if found.is_loopback else f"{IPv6Address(int(found) >> 64 << 64)}/64"


class Connections:
    """Every open connection; used on the event loop only."""

    def __init__(self, most: int, on_refusal: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._unknown_most = max(most // UNKNOWN_PART, 2)
        self._newcomers = max(self._unknown_most // NEWCOMERS_PART, 1)
        self._on_refusal = on_refusal
        self._unknown: dict[str, OrderedDict[ClientConnection, None]] = {}
        self._unknown_count = 0
        self._known: OrderedDict[ClientConnection, str] = OrderedDict()  # and its key; who showed one last is last
        self._of_key: Counter[str] = Counter()
        self._unread: dict[ClientConnection, None] = {}
        self._waiting: dict[ClientConnection, int] = {}
        self.waiting_bytes = 0
        self._bodies: dict[str, int] = {}
        self.bodies_bytes = 0
        self.is_ending = False  # the hub is stopping: each answer from here on is the last one of its connection

    def __len__(self) -> int:
        return self._unknown_count + len(self._known)

    def join(self, line: ClientConnection) -> None:
        """A new connection, of somebody unknown; what it pushes out is closed."""
        of_address = self._unknown.setdefault(line.address, OrderedDict())
        of_address[line] = None
        self._unknown_count += 1
        if len(of_address) > self._unknown_most // 2:
            self._push_out(of_address)
        elif self._unknown_count > self._unknown_most or (
            len(self) > self._most and self._unknown_count > self._newcomers
        ):
            self._push_out(max(self._unknown.values(), key=len))
        elif len(self) > self._most and not self._push_out_known():
            self._on_refusal()
            line.drop()

    def leave(self, line: ClientConnection) -> None:
        """It is closed."""
        self._unread.pop(line, None)
        self.note_waiting(line, 0)
        if line in self._known:
            key_id = self._known.pop(line)
            self._of_key[key_id] -= 1
            if not self._of_key[key_id]:
                del self._of_key[key_id]
        else:
            self._take_out_of_unknown(line)

    def _take_out_of_unknown(self, line: ClientConnection) -> bool:
        """→ whether it was there."""
        of_address = self._unknown.get(line.address)
        if of_address is None or line not in of_address:
            return False
        del of_address[line]
        self._unknown_count -= 1
        if not of_address:
            del self._unknown[line.address]
        return True

    def establish(self, line: ClientConnection, key_id: str) -> None:
        """It has shown a valid key: from here on it is not closed for the unknown while the hub has places.

        What it holds in memory stays counted: requests may have come behind the one that shows the key.
        """
        if line in self._known:
            self._known.move_to_end(line)
        elif self._take_out_of_unknown(line):
            self._known[line] = key_id
            self._of_key[key_id] += 1

    def _push_out(self, lines: OrderedDict[ClientConnection, None]) -> None:
        oldest = next(iter(lines))
        self.leave(oldest)
        oldest.drop()

    def _push_out_known(self) -> bool:
        """Close a connection on which no answer is being made, the one that showed its key longest ago.

        Those at rest go first: between two requests that is allowed, and clients come again. Then those that wait for
        their client: with enough of these one key would keep everybody else out. A key with more than its part loses
        one of either kind before anybody else does.
        """
        key_id, count = max(self._of_key.items(), key=lambda one: one[1])
        out = self._first_to_go(key_id if count * KEY_PART > self._most else None)
        if out is None:
            return False
        self.leave(out)
        out.drop()
        return True

    def _first_to_go(self, greedy: str | None) -> ClientConnection | None:
        """In one pass: newcomers to a full hub may be many, and often there is nobody to go."""
        found: dict[tuple[bool, bool], ClientConnection] = {}
        for line, key_id in self._known.items():
            is_at_rest = line.is_at_rest
            if is_at_rest or line.waits_for_client:
                rank = greedy not in (None, key_id), not is_at_rest
                if rank == (False, False):
                    return line
                found.setdefault(rank, line)
        return found[min(found)] if found else None

    # ---- bytes in memory

    def take_body(self, key_id: str, size: int, *, is_small: bool) -> None:
        """Room for `size` more bytes of a body; UnavailableError when there is none, which a small body never meets."""
        held = self._bodies.get(key_id, 0)
        is_full = self.bodies_bytes + size > BODIES_BYTES_MAX or held + size > BODIES_OF_KEY_MAX
        if is_full and not is_small:
            raise UnavailableError("Too many large requests at once")
        self._bodies[key_id] = held + size
        self.bodies_bytes += size

    def give_back_body(self, key_id: str, size: int) -> None:
        """A body was decided, or will never be."""
        left = self._bodies.pop(key_id, 0) - size
        if left > 0:
            self._bodies[key_id] = left
        self.bodies_bytes -= size

    def note_waiting(self, line: ClientConnection, size: int) -> None:
        """So much of its requests waits in memory. Beyond a bound the connection that holds most is cut off."""
        self.waiting_bytes += size - self._waiting.pop(line, 0)
        if size:
            self._waiting[line] = size
        while self.waiting_bytes > WAITING_BYTES_MAX:
            largest = max(self._waiting, key=self._waiting.__getitem__)
            self.note_waiting(largest, 0)
            largest.drop()

    def note_unread(self, line: ClientConnection) -> None:
        """An answer waits in memory for its reader. Beyond a bound the connection that holds most is cut off."""
        self._unread[line] = None
        while self._unread and sum(one.unread_bytes for one in self._unread) > UNREAD_BYTES_MAX:
            slowest = max(self._unread, key=lambda one: one.unread_bytes)
            del self._unread[slowest]
            slowest.drop()

    def note_read(self, line: ClientConnection) -> None:
        """It was read."""
        self._unread.pop(line, None)


class BodyRoom:
    """The part of the room for bodies that one request holds, from its first part until it is answered."""

    def __init__(self, line: ClientConnection | None) -> None:
        self._line = line
        self._key_id = ""
        self.held_bytes = 0

    def establish(self, key_id: str) -> None:
        """The request has shown a valid key."""
        self._key_id = key_id
        if self._line is not None:
            self._line.crowd.establish(self._line, key_id)

    def take(self, size: int) -> None:
        """Room for `size` more bytes; UnavailableError when there is none."""
        if self._line is not None:
            self._line.crowd.take_body(self._key_id, size, is_small=self.held_bytes + size <= SMALL_BYTES)
            self.held_bytes += size

    def give_back(self) -> None:
        """It is answered."""
        if self.held_bytes and self._line is not None:
            self._line.crowd.give_back_body(self._key_id, self.held_bytes)
            self.held_bytes = 0
