"""Spans of the statements that matter, as OpenTelemetry's conventions for PostgreSQL name them.

https://opentelemetry.io/docs/specs/semconv/db/postgresql/

A statement has a span only within a span that is recorded: the queries of a command make no traces of their own.
Neither the text of a statement nor any value is told.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.semconv.attributes.db_attributes import (
    DB_COLLECTION_NAME,
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    DbSystemNameValues,
)
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from verdex.telemetry.spans import set_error

RETURNED_ROWS = "db.response.returned_rows"  # no constant of the conventions yet that is stable
AFFECTED_ROWS = "verdex.rows"
STATEMENTS = "verdex.statements"
BUSY_SECONDS = "verdex.busy_seconds"

_tracer = trace.get_tracer(__name__)


@dataclass(slots=True)
class Statement:
    """A statement, or all of one kind that a step sent; `rows` is how many it returned or changed, where known."""

    name: str
    attributes: Mapping[str, AttributeValue]
    began_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0
    busy_ns: int = 0
    times: int = 1
    rows: int | None = None
    error: Exception | None = None

    def completed(self, tag: str) -> None:
        """Take the number of rows from what PostgreSQL answers, such as `COPY 310`."""
        self.rows = int(tag.rpartition(" ")[2])

    def end(self) -> None:
        """It ends now."""
        self.ended_ns = time.time_ns()
        self.busy_ns = self.ended_ns - self.began_ns

    def add(self, other: "Statement") -> None:
        """Stand for another one as well."""
        self.ended_ns, self.times = other.ended_ns, self.times + other.times
        self.busy_ns += other.busy_ns
        if other.rows is not None:
            self.rows = (self.rows or 0) + other.rows


_Sums = dict[tuple[object, ...], Statement]
_sums: ContextVar[_Sums | None] = ContextVar("sums_of_statements", default=None)


@contextmanager
def statement(connection: object, operation: str, *tables: str) -> Iterator[Statement]:
    """Around a statement that is sent over a connection of asyncpg's."""
    attributes = _attributes(connection, operation, tables) if _is_traced() else {}
    with _told(Statement(" ".join((operation, *tables)), attributes)) as told:
        yield told


@contextmanager
def connecting(database: str | None) -> Iterator[None]:
    """Around the making of a connection; None stands for a database whose name is not known."""
    namespace = {DB_NAMESPACE: database} if database else {}
    attributes = {DB_SYSTEM_NAME: DbSystemNameValues.POSTGRESQL.value, DB_OPERATION_NAME: "connect", **namespace}
    with _told(Statement(" ".join(("connect", *namespace.values())), attributes)):
        yield


@contextmanager
def summed() -> Iterator[None]:
    """One span for all statements of a kind inside, but for those that fail: a step may send any number of them.

    It lasts from the begin of the first to the end of the last, and says how long they took together. No span is made
    before the end of the block: if the process is killed before, they would have no parent.
    """
    sums: _Sums = {}
    token = _sums.set(sums)
    try:
        yield
    finally:
        _sums.reset(token)
        for one in sums.values():
            _record(one)


@contextmanager
def _told(one: Statement) -> Iterator[Statement]:
    if not _is_traced():
        yield one
        return
    try:
        yield one
    except ValueError:  # nothing was sent: an address is malformed, say, and the text may hold a part of its password
        raise
    except Exception as error:
        one.error = error
        _end(one)
        raise
    except BaseException:
        _end(one)
        raise
    _end(one)


def _is_traced() -> bool:
    return trace.get_current_span().is_recording()


def _end(one: Statement) -> None:
    one.end()
    sums = _sums.get()
    if sums is None:
        _record(one)
        return
    key = one.name, one.attributes.get(DB_NAMESPACE), one.error
    if key in sums:
        sums[key].add(one)
    else:
        sums[key] = one


def _record(one: Statement) -> None:
    span = _tracer.start_span(one.name, kind=SpanKind.CLIENT, attributes=one.attributes, start_time=one.began_ns)
    if one.times > 1:
        span.set_attributes({BUSY_SECONDS: round(one.busy_ns / 1e9, 3), STATEMENTS: one.times})
    if one.rows is not None:
        is_query = one.attributes[DB_OPERATION_NAME] == "SELECT"
        span.set_attribute(RETURNED_ROWS if is_query else AFFECTED_ROWS, one.rows)
    if one.error is not None:
        _record_error(span, one.error, one.ended_ns)
    span.end(one.ended_ns)


def _record_error(span: Span, error: Exception, at_ns: int) -> None:
    code = getattr(error, "sqlstate", None)
    span.set_attributes(_if_set(DB_RESPONSE_STATUS_CODE, code))
    message = str(error).partition("\n")[0]  # the lines below it hold values
    span.record_exception(error, {EXCEPTION_MESSAGE: message}, timestamp=at_ns)
    set_error(span, code or type(error).__qualname__, message)


def _attributes(connection: object, operation: str, tables: tuple[str, ...]) -> dict[str, AttributeValue]:
    """What asyncpg has no public names for is left out if it ever changes."""
    database = getattr(getattr(connection, "_params", None), "database", None)
    address = getattr(connection, "_addr", None)  # the path of a socket, or host and port
    host, port = address if isinstance(address, tuple) else (address, None)
    return {
        DB_SYSTEM_NAME: DbSystemNameValues.POSTGRESQL.value,
        DB_OPERATION_NAME: operation,
        DB_QUERY_SUMMARY: " ".join((operation, *tables)),
        **_if_set(DB_NAMESPACE, database),
        **_if_set(DB_COLLECTION_NAME, tables[0] if len(tables) == 1 else None),
        **_if_set(SERVER_ADDRESS, host),
        **_if_set(SERVER_PORT, port),
    }


def _if_set(name: str, value: AttributeValue | None) -> dict[str, AttributeValue]:
    return {} if value is None else {name: value}
