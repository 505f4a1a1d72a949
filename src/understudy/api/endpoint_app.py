"""One endpoint of the table as it is served: from a request to the operation, and from its answer to the response."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

from understudy.api.connections import BodyRoom
from understudy.api.context import Api
from understudy.api.endpoint import Endpoint, Request, check_path
from understudy.api.fields import beside_loop, query_of
from understudy.api.hub import CallsBack, Recipient
from understudy.api.long_poll import wait_for_work
from understudy.api.request_counts import counted_send
from understudy.api.respond import (
    ClientGoneError,
    Response,
    encoded,
    length_of,
    read_body,
    refusal_of,
    response_of,
    send_response,
)
from understudy.api.streams import stream_events
from understudy.errors import ForbiddenError, UnauthorizedError, UnderstudyError
from understudy.hub.claims import ClaimTasks, NothingYet
from understudy.hub.keys import Caller, KeyChange
from understudy.hub.operation import Operation

UNAVAILABLE_STATUS = 503
PAST_ASGI_BYTES_MAX = 4 << 10  # of a body, which waits beside its connection and is not counted: 48 MiB for all
BYTES_A_TASK = 16 << 10  # writing so much takes as long as a task does


class EndpointApp:
    """One endpoint, answered by ASGI (`__call__`) or past it (`admitted`, `ask`, then `answered` or `failed`).

    The steps are the same: key, scope, rate limit, path id, body, operation, answer; the first that fails answers.
    """

    def __init__(self, endpoint: Endpoint, api: Api) -> None:
        self.endpoint = endpoint
        self.api = api
        self._ask_hub = api.hub.ask if isinstance(api.hub, CallsBack) else None
        self._answered = api.requests.of(endpoint.method, endpoint.path)
        self._body_max = min(endpoint.body_max, api.body_bytes_max)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request by ASGI."""
        room = BodyRoom(scope.get("connection"))
        try:
            request = self._admitted(await self.api.caller(scope), scope, room)
            if self.endpoint.method != "GET":
                request.body = await read_body(scope, receive, self._body_max, room)
            if self.endpoint.follows:
                counted = counted_send(self._answered, send)
                await stream_events(self.api.hub, request, self._welcome(request), scope, receive, counted)
                return
            await send_response(send, self._response(await self._answer(request, receive)))
        except UnderstudyError as error:
            response = self._trouble(error)
            await self.api.hold(error)
            await send_response(send, response)
        except ClientGoneError:
            return
        except Exception as bug:  # noqa: BLE001 - the outermost place of a request
            await send_response(send, self._trouble(bug))
        finally:
            if room.held_bytes:
                room.give_back()

    def admitted(self, scope: Any) -> Request | None:
        """A request that may be answered past ASGI, its body still to come; None if ASGI must answer.

        Whatever fails here fails there once more, in the same way: nothing is counted before.
        """
        try:
            caller = self.api.known(scope)
            if caller is None or not 0 <= length_of(scope) <= min(self._body_max, PAST_ASGI_BYTES_MAX):
                return None
            return self._admitted(caller, scope, BodyRoom(scope["connection"]))
        except Exception:  # noqa: BLE001 - ASGI meets it again
            return None

    def ask(self, request: Request, recipient: Recipient) -> Response | None:
        """Ask a whole request of the hub, which answers to `recipient`; its answer, if it has one already."""
        try:
            assert self._ask_hub is not None
            self._ask_hub(self._operation(request), recipient)
        except Exception as trouble:  # noqa: BLE001 - the outermost place of a request
            return self._trouble(trouble)
        return None

    def answered(self, answer: Any) -> Response:
        """The response once the hub has decided; to a claim that would wait: that there is nothing."""
        try:
            return self._response(answer.answer if isinstance(answer, NothingYet) else answer)
        except Exception as bug:  # noqa: BLE001 - the outermost place of a request
            return self._trouble(bug)

    def failed(self, trouble: BaseException) -> Response:
        """The response to what the hub has refused, or has failed with."""
        try:
            return self._trouble(trouble)
        except Exception as bug:  # noqa: BLE001 - whatever else fails, its caller gets an answer
            return self._trouble(bug)

    def _response(self, answer: Any) -> Response:
        if isinstance(answer, UnderstudyError):  # a refusal that kept something (evidence, an event)
            self._answered[answer.status] += 1
            return refusal_of(answer)
        shown = self.endpoint.shown(answer)
        response = response_of(self.endpoint.status_of(shown), shown)
        self._answered[response.status] += 1
        return response

    def _trouble(self, trouble: BaseException) -> Response:
        """Every error becomes its response here and nowhere else."""
        if not isinstance(trouble, UnderstudyError):
            self._answered[500] += 1
            return self.api.internal_error(f"{self.endpoint.method} {self.endpoint.path}", trouble)
        self._answered[trouble.status] += 1
        self._note(trouble.status)
        return refusal_of(trouble)

    def _note(self, status: int) -> None:
        """A sign of life that this hub could not take: it is the hub that was deaf, not the daemon that was silent."""
        if status == UNAVAILABLE_STATUS and not (self.endpoint.is_limited or self.endpoint.waits):
            self.api.hub.missed_a_sign()

    def _admitted(self, caller: Caller, scope: Any, room: BodyRoom) -> Request:
        """Scope of the key, then rate limit, then path id: the first that fails answers."""
        endpoint, api = self.endpoint, self.api
        room.establish(caller.key_id)
        if not caller.may(*endpoint.scopes):
            raise ForbiddenError(code="scope")
        if endpoint.is_limited:
            api.limit.take(caller.key_id)
        query = scope.get("query_string")
        request = Request(
            caller,
            scope.get("path_params") or {},
            query_of(query) if query else {},
            b"",
            api.hub.clock.now_ms(),
            api.hub.ids,
            _header(scope, b"idempotency-key") if endpoint.is_keyed else "",
            api.redactor,
        )
        if request.path:
            check_path(request)
        return request

    def _welcome(self, request: Request) -> Callable[[], bool]:
        """Admit the caller → a test that its key is still valid, for requests that wait long."""
        return partial(self.api.keys.is_valid, request.caller.key_id)

    async def _answer(self, request: Request, receive: Any) -> Any:
        endpoint, hub = self.endpoint, self.api.hub
        if endpoint.show is not None:
            show = endpoint.show
            if endpoint.searches is not None and endpoint.searches(request):
                return await hub.search(request.caller.key_id, lambda view: encoded(show(request, view)))
            return await hub.view(lambda view: encoded(show(request, view)), request.caller.key_id)
        operation = await beside_loop(len(request.body), partial(self._operation, request))
        if _waits(operation):
            return await wait_for_work(hub, operation, self._welcome(request), receive)
        answer = await hub.decide(operation)
        if isinstance(operation, KeyChange):  # in force before the answer is sent
            await self.api.key_changed()
        return answer

    def _operation(self, request: Request) -> Operation:
        """The operation of a whole request; UnauthorizedError if its key was revoked while its body came."""
        if not self.api.keys.is_valid(request.caller.key_id):
            raise UnauthorizedError
        assert self.endpoint.make is not None
        operation = self.endpoint.make(request)
        operation.weight += len(request.body) // BYTES_A_TASK
        return operation


def _waits(operation: Operation) -> TypeGuard[ClaimTasks]:
    return isinstance(operation, ClaimTasks) and bool(operation.body.wait_sec)


def _header(scope: Any, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""
