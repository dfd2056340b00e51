"""What PostgreSQL and asyncpg raise, in verdex's own terms.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from verdex.errors import (
    DatabaseDiskFull,
    DatabaseNotFound,
    DatabaseRefused,
    DatabaseUnavailable,
    SchemaMissing,
    StateRefused,
    VerdexError,
)

_BY_CODE: dict[str, type[VerdexError]] = {
    "3D000": DatabaseNotFound,
    "57P04": DatabaseNotFound,  # dropped while connected
    "23514": StateRefused,
    "25006": DatabaseUnavailable,  # read-only: a standby that is not the primary yet
    "25P03": DatabaseUnavailable,  # idle for too long in a transaction
    "25P04": DatabaseUnavailable,  # transaction timeout
    "42501": DatabaseRefused,
    "42P01": SchemaMissing,
    "53100": DatabaseDiskFull,
    "40001": DatabaseUnavailable,  # serialization failure
    "40P01": DatabaseUnavailable,  # deadlock
    "55000": DatabaseUnavailable,  # not accepting connections
    "55006": DatabaseUnavailable,  # in use by somebody else
    "55P03": DatabaseUnavailable,  # lock not available
    "57014": DatabaseUnavailable,  # statement timeout
    "57P01": DatabaseUnavailable,  # terminated by an administrator
    "57P02": DatabaseUnavailable,  # another backend crashed
    "57P03": DatabaseUnavailable,  # starting up or shutting down
    "57P05": DatabaseUnavailable,  # idle for too long
}
_BY_CLASS: dict[str, type[VerdexError]] = {
    "08": DatabaseUnavailable,  # connection lost
    "28": DatabaseRefused,
    "53": DatabaseUnavailable,  # too many connections, out of memory
}


_LOST = "PostgreSQL is not available: the connection was lost"


def translate(error: BaseException) -> VerdexError | None:
    """The error of verdex that stands for `error`; None where it is a bug of the program."""
    match error:
        case asyncpg.PostgresError():
            code = error.sqlstate or ""
            kind = _BY_CODE.get(code) or _BY_CLASS.get(code[:2])
            return kind(_named(kind, error)) if kind else None
        case asyncpg.InterfaceError(__context__=asyncpg.PostgresError() as cause):
            return translate(cause)  # the end of a transaction complains that its connection is closed; this is why
        case asyncpg.InternalClientError():  # what it says is about the protocol
            return DatabaseUnavailable(_LOST)
        case asyncpg.InterfaceError() if "connection is closed" in str(error):  # and here, about a method
            return DatabaseUnavailable(_LOST)
        case asyncpg.InterfaceError() | ConnectionError() | TimeoutError():
            return DatabaseUnavailable(_named(DatabaseUnavailable, error))
        case _:
            return None


def unreachable(error: OSError) -> DatabaseUnavailable:
    """What an OSError means where it comes from connecting; elsewhere it may be that of a file."""
    return DatabaseUnavailable(_named(DatabaseUnavailable, error))


def _named(kind: type[VerdexError], error: BaseException) -> str:
    unsaid = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    text = str(error).split("\n")[0] or unsaid
    if kind is SchemaMissing:
        return f"PostgreSQL: {text}: a worker sets up the registry when it starts; is one running?"
    return f"PostgreSQL is not available: {text}" if kind is DatabaseUnavailable else f"PostgreSQL: {text}"


@contextmanager
def translated() -> Iterator[None]:
    """Raise `VerdexError` for what the server or the network does, and leave bugs as they are."""
    try:
        yield
    except Exception as error:
        known = translate(error)
        if known is None:
            raise
        raise known from error
