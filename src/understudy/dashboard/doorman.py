"""The way in: a session by its cookie, or the word of a proxy in front."""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from contextlib import suppress
from ipaddress import ip_address, ip_network
from unicodedata import normalize

from understudy.api.connections import BodyRoom
from understudy.api.context import Api
from understudy.coordinator.nouns import Now, Session
from understudy.coordinator.sessions import KEPT_MS, is_good, is_noted
from understudy.dashboard.asked import Asked, ProxyTrust, token_of
from understudy.dashboard.safety import is_from_us
from understudy.errors import ForbiddenError, UnderstudyError
from understudy.hub.keys import Caller, hash_of
from understudy.hub.sessions import SCOPES_OF, EndSession, Login, SeeSession, StartSession
from understudy.store.queries import SESSIONS_OF

LINE = "logins"  # of reads: strangers stand in it
BROWSER_CHARS_MAX = 200  # Safari says who it is at the end
ID_CHARS_MAX = 80
USER_CHARS_MAX = 64
KNOWN_MAX = 1_000
SESSIONS_OF_KEY_MAX = 100  # one more takes the place of the one that was not used for longest
USER = "user:"


def _name_in(header: str) -> str:
    """The name that a proxy sent, nearly always as UTF-8, in one form; what comes from the wire was read as Latin-1."""
    with suppress(UnicodeError):
        header = header.encode("latin-1").decode()
    return normalize("NFC", header).strip()


class Doorman:
    """Lets sessions in, and begins and ends them."""

    def __init__(self, api: Api, trust: ProxyTrust) -> None:
        self.api = api
        self._trust = trust
        self._users = {normalize("NFC", name): scope for name, scope in trust.users.items()}
        self._proxies = [ip_network(text, strict=False) for text in trust.proxies]
        self._beginning = asyncio.Lock()  # from the count of a key's sessions until the next one of them is begun
        self._known: OrderedDict[str, None] = OrderedDict()  # sessions that were let in lately

    async def admit(self, asked: Asked) -> bool:
        """True if a session that is held sends this; from here on `asked.session` is it."""
        user = self._user_of(asked)
        session = await self._session_of(asked, user)
        if session is None and user and self._scope_of(user) and asked.is_visit:
            session = await self.begin(asked, f"{USER}{user}", "", "", SCOPES_OF[self._scope_of(user)])
        if session is None:
            return False
        self.api.limit.take(session.id)
        BodyRoom(asked.request.scope.get("connection")).establish(session.key_id)
        await self._note_seen(session)
        return True

    async def is_held(self, asked: Asked) -> bool:
        """True if the session that was let in is still held: what a browser sends after its head may take minutes."""
        assert asked.session is not None
        return bool(await self.load((asked.session.id,), asked.session.id))

    async def _session_of(self, asked: Asked, user: str) -> Session | None:
        session_id, secret = asked.cookie
        if not session_id or not secret or len(session_id) > ID_CHARS_MAX:
            return None
        found = await self.load((session_id,), session_id if session_id in self._known else LINE)
        session = found.get(session_id)
        if session is None or not hmac.compare_digest(session.hash, hash_of(secret)):
            return None
        if session.key_id.startswith(USER) and session.key_id != f"{USER}{user}":
            return None
        asked.session, asked.secret = session, secret
        self._know(session_id)
        return session

    def _know(self, session_id: str) -> None:
        """From here on it has a line of reads of its own: strangers with invented cookies do not stand before it."""
        self._known[session_id] = None
        self._known.move_to_end(session_id)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def load(self, ids: tuple[str, ...], line: str = LINE) -> dict[str, Session]:
        """Those of these that are held now, and whose keys are."""
        rows, now = await self.api.hub.view(lambda view: (view.reader.load_many(Session, ids), view.now), line)
        return {row.id: row for row in rows if self._is_held(row, now)}

    def _is_held(self, session: Session, now: Now) -> bool:
        if session.key_id.startswith(USER):
            scope = self._scope_of(session.key_id.removeprefix(USER))
            return is_good(session, now) and frozenset(session.scopes.split()) == SCOPES_OF.get(scope)
        return is_good(session, now) and self.api.keys.is_same(session.key_id, session.key_mark)

    async def _note_seen(self, session: Session) -> None:
        if not is_noted(session, self.api.hub.clock.now_ms()):
            with suppress(UnderstudyError):  # a store that is full shows its pages all the same
                await self.api.hub.decide(SeeSession(session.id))

    # ---- a proxy in front

    def _user_of(self, asked: Asked) -> str:
        """The name that a trusted proxy gives; "" if none does, or not exactly one."""
        if not self._trust.header or not self._is_proxy(asked):
            return ""
        names = asked.headers.getlist(self._trust.header)
        name = _name_in(names[0]) if len(names) == 1 else ""
        return name if name.isprintable() and len(name) <= USER_CHARS_MAX and " " not in name else ""

    def _is_proxy(self, asked: Asked) -> bool:
        try:
            peer = ip_address(asked.request.client.host if asked.request.client else "")
        except ValueError:
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return any(peer in network for network in self._proxies)

    def _scope_of(self, user: str) -> str:
        return self._users.get(user, "") if self._users else "admin"

    # ---- logins

    async def begin(self, asked: Asked, key_id: str, key_mark: str, owner: str, scopes: frozenset[str]) -> Session:
        """A new session with a new secret, whatever the browser had before."""
        login, secret = self.new_login(asked)
        fresh = login.session(key_id, key_mark, owner or key_id, scopes)
        async with self._beginning:
            session: Session = await self.api.hub.decide(StartSession(fresh, await self._surplus_of(key_id)))
        await self.welcome(asked, session, secret)
        return session

    async def _surplus_of(self, key_id: str) -> tuple[str, ...]:
        """The sessions of this key that make room for one more."""
        most = SESSIONS_OF_KEY_MAX
        others = await self.api.hub.view(lambda view: view.reader.find(SESSIONS_OF, key_id, limit=2 * most), LINE)
        return tuple(session.id for session in others[most - 1 :])

    def new_login(self, asked: Asked) -> tuple[Login, str]:
        """A session that is about to begin, and its secret."""
        secret = self.api.hub.ids.secret("s")
        browser = asked.headers.get("user-agent", "")[:BROWSER_CHARS_MAX]
        return Login(self.api.hub.ids.new("session"), hash_of(secret), browser), secret

    async def welcome(self, asked: Asked, session: Session, secret: str) -> None:
        """The browser gets the new one; the one that it had ends."""
        await self.end(asked)
        asked.keep_session(session, secret, KEPT_MS // 1000)

    async def begin_with_key(self, asked: Asked, caller: Caller) -> None:
        """A session with the scopes of a key. ForbiddenError if it may not look."""
        if not caller.may("read"):
            raise ForbiddenError(code="scope")
        mark = self.api.keys.marks.get(caller.key_id, "")
        await self.begin(asked, caller.key_id, mark, caller.owner, caller.scopes)

    async def end(self, asked: Asked) -> None:
        """The session of this browser ends, if it has one."""
        user = self._user_of(asked)
        session = asked.session or await self._session_of(asked, user)
        if session is not None:
            await self.api.hub.decide(EndSession(session.id, session.key_id))

    # ---- acts

    def check_act(self, asked: Asked, token: str) -> None:
        """ForbiddenError unless a page of this session has sent the form."""
        right = token_of(asked.secret)
        if not is_from_us(asked.headers, asked.public_url) or not hmac.compare_digest(right.encode(), token.encode()):
            raise ForbiddenError(code="foreign")
