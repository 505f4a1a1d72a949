"""The error tree: one root, leaves named after whose fault it is, each with a stable code."""

from __future__ import annotations

from typing import Any, ClassVar


class UnderstudyError(Exception):
    """Root of all our errors: `message` says what is wrong and what to do next."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500

    def __init__(self, message: str, /, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


class ConfigError(UnderstudyError):
    """A setting is missing, malformed or contradicts another one."""

    code = "config"


class BadRequestError(UnderstudyError):
    """The caller sent something that cannot be understood (400); `details` names each field."""

    code = ""
    status = 400

    def __init__(self, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message, **({"details": list(details)} if details else {}))


class UnauthorizedError(UnderstudyError):
    """No key, or one that no hub knows (401)."""

    status = 401

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class ForbiddenError(UnderstudyError):
    """The key is right, but may not do this (403)."""

    status = 403

    def __init__(self, message: str = "Forbidden", **fields: Any) -> None:
        super().__init__(message, **fields)


class NotFoundError(UnderstudyError):
    """There is nothing of that name (404)."""

    status = 404

    def __init__(self, message: str = "Not found") -> None:
        super().__init__(message)


class ConflictError(UnderstudyError):
    """The state of things does not allow it (409); `code` tells programs why."""

    status = 409

    def __init__(self, message: str, code: str, **fields: Any) -> None:
        super().__init__(message, code=code, **fields)


class TooLargeError(UnderstudyError):
    """A body beyond its limit (413)."""

    status = 413

    def __init__(self, limit_bytes: int) -> None:
        super().__init__("Request body too large", limitBytes=limit_bytes)


class MismatchError(UnderstudyError):
    """The same idempotency key or id, but another body (422)."""

    status = 422

    def __init__(self, message: str) -> None:
        super().__init__(message, code="idempotency_mismatch")


class TooManyRequestsError(UnderstudyError):
    """Over a rate limit (429); `retryAfter` in whole seconds."""

    status = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("Too Many Requests", retryAfter=retry_after_s)
        self.fields["message"] = f"Retry after {retry_after_s} s"


class UnavailableError(UnderstudyError):
    """The hub cannot do it now (503): never to be mistaken for an empty answer."""

    status = 503

    def __init__(self, message: str = "Store unavailable", retry_after_s: int = 1) -> None:
        super().__init__(message, retryAfter=retry_after_s)


class StoreFullError(UnderstudyError):
    """There is no room for more (507): what keeps daemons alive and brings results is still taken."""

    code = "store_full"
    status = 507

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message, code=code or self.code, retryAfter=60)


class SlowReadError(UnavailableError):
    """A read took longer than any may (503): others wait for their turn."""

    code = "too_slow"

    def __init__(self) -> None:
        super().__init__("This took too long, narrow it (status, source, since, a smaller limit)", 5)
        self.fields["code"] = self.code


class StoreError(UnavailableError):
    """The store refused or failed; nothing of the transaction was kept."""


class StoreDownError(StoreError):
    """The store could not even begin or commit: other requests of the time would fail as well."""


class StoreVersionError(UnderstudyError):
    """The store was written by a newer version: it is refused, not guessed at."""
