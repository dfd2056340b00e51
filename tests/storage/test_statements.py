"""The spans of statements, over connections to a real PostgreSQL server."""

from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from verdex.errors import DatabaseNotFound
from verdex.storage.database import Database, Server
from verdex.storage.statements import statement, summed
from verdex.telemetry import Tracing
from verdex.telemetry.store import StoredSpan, read

tracer = trace.get_tracer("tests")

Below = Callable[[Span], dict[str, StoredSpan]]


@pytest.fixture
def below(tracing: Tracing, short_directory: Path) -> Below:
    """The spans below one that has ended, by name."""

    def spans(parent: Span) -> dict[str, StoredSpan]:
        tracing.flush()
        context = parent.get_span_context()
        found = read(short_directory / "traces", trace.format_trace_id(context.trace_id))
        children = [span for span in found if span.parent_span_id == trace.format_span_id(context.span_id)]
        assert len({span.name for span in children}) == len(children)
        return {span.name: span for span in children}

    return spans


@pytest.fixture
async def registry(server: Server) -> Database:
    return server.registry


async def test_a_statement_is_told_in_the_words_of_the_conventions(registry: Database, below: Below) -> None:
    async with registry.connection() as connection:
        with tracer.start_as_current_span("step") as step, statement(connection, "SELECT", "projects") as select:
            select.rows = len(await connection.fetch("SELECT 1 UNION SELECT 2"))
        name = await connection.fetchval("SELECT current_database()")
    span = below(step)["SELECT projects"]
    assert (span.kind, span.status) == (SpanKind.CLIENT, "unset")
    assert str(span.attributes.pop("server.address")).endswith(".s.PGSQL.5432")
    assert span.attributes == {
        "db.system.name": "postgresql",
        "db.namespace": name,
        "db.operation.name": "SELECT",
        "db.collection.name": "projects",
        "db.query.summary": "SELECT projects",
        "db.response.returned_rows": 2,
    }


async def test_one_of_several_tables_has_no_single_collection(registry: Database, below: Below) -> None:
    async with registry.connection() as connection:
        with tracer.start_as_current_span("step") as step, statement(connection, "INSERT", "one", "two") as insert:
            insert.completed("INSERT 0 7")
    span = below(step)["INSERT one two"]
    assert "db.collection.name" not in span.attributes
    assert span.attributes["verdex.rows"] == 7


async def test_a_statement_that_fails_tells_the_code_and_the_traceback(registry: Database, below: Below) -> None:
    async with registry.connection() as connection:
        with (
            tracer.start_as_current_span("step") as step,
            pytest.raises(asyncpg.UndefinedTableError),
            statement(connection, "SELECT", "nothing"),
        ):
            await connection.fetch("SELECT * FROM nothing")
    span = below(step)["SELECT nothing"]
    assert (span.status, span.status_message) == ("error", 'relation "nothing" does not exist')
    assert span.attributes["db.response.status_code"] == span.attributes["error.type"] == "42P01"
    (error,) = span.events
    assert error.type == "asyncpg.exceptions.UndefinedTableError"
    assert "SELECT * FROM nothing" in (error.stacktrace or "")


async def test_connecting_is_a_span_also_where_it_fails(server: Server, below: Below) -> None:
    missing = server.database("cb_proj_missing")
    with pytest.raises(DatabaseNotFound), tracer.start_as_current_span("step") as step:
        async with missing.connection():
            pass
    span = below(step)["connect cb_proj_missing"]
    assert (span.status, span.attributes["db.response.status_code"]) == ("error", "3D000")
    assert span.attributes["db.namespace"] == "cb_proj_missing"


async def test_a_commit_is_a_span_and_a_rollback_is_none(registry: Database, below: Below) -> None:
    with tracer.start_as_current_span("step") as step:
        async with registry.transaction() as connection:
            await connection.execute("SELECT 1")
    assert "COMMIT" in below(step)
    with pytest.raises(LookupError), tracer.start_as_current_span("step") as step:
        async with registry.transaction():
            raise LookupError
    assert "COMMIT" not in below(step)


async def test_a_commit_that_is_refused_is_a_span_that_failed(registry: Database, below: Below) -> None:
    async with registry.connection() as connection:
        await connection.execute("CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(asyncpg.UniqueViolationError), tracer.start_as_current_span("step") as step:
        async with registry.transaction() as connection:
            await connection.execute("INSERT INTO deferred VALUES (1), (1)")
    commit = below(step)["COMMIT"]
    assert (commit.status, commit.attributes["db.response.status_code"]) == ("error", "23505")


async def test_any_number_of_statements_of_a_kind_can_be_one_span(registry: Database, below: Below) -> None:
    async with registry.connection() as connection:
        with tracer.start_as_current_span("step") as step, summed():
            for number in range(100):
                with statement(connection, "COPY", "chunks") as copy:
                    copy.completed(f"COPY {number}")
                with statement(connection, "UPDATE", "files"):
                    await connection.fetchval("SELECT 1")
    spans = below(step)
    assert spans.keys() == {"COPY chunks", "UPDATE files"}
    copies, updates = spans["COPY chunks"], spans["UPDATE files"]
    assert (copies.attributes["verdex.statements"], copies.attributes["verdex.rows"]) == (100, 4950)
    assert copies.start_ns <= updates.start_ns < copies.end_ns <= updates.end_ns
    assert 0 < updates.attributes["verdex.busy_seconds"] <= (updates.end_ns - updates.start_ns) / 1e9


async def test_one_of_them_that_fails_stands_alone(registry: Database, below: Below) -> None:
    async with registry.connection() as connection:
        with tracer.start_as_current_span("step") as step, summed():
            for _ in range(2):
                with statement(connection, "COPY", "chunks"):
                    pass
            with pytest.raises(LookupError), statement(connection, "UPDATE", "files"):
                raise LookupError
    spans = below(step)
    assert {name: span.status for name, span in spans.items()} == {"COPY chunks": "unset", "UPDATE files": "error"}


async def test_outside_of_a_trace_statements_make_none(
    registry: Database, tracing: Tracing, short_directory: Path
) -> None:
    tracing.flush()
    before = set((short_directory / "traces").glob("*"))
    async with registry.transaction() as connection:
        with summed(), statement(connection, "SELECT", "projects"):
            await connection.fetchval("SELECT 1")
    tracing.flush()
    assert set((short_directory / "traces").glob("*")) == before
