"""Whatever is written to the registry, in whatever order: a truth is stored and a lie is refused.

hypothesis writes as a workflow does, through `Registry`, and as a person at psql does; `truth.py` says what may be.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.properties import bounded
from tests.storage.conftest import CREATED, DIGEST, job_record, new_database
from tests.storage.truth import (
    COUNTS,
    NEW,
    TERMINAL,
    TIMES,
    WAYS,
    Row,
    has_ended,
    lie,
    may_become,
    may_begin,
    recorded,
)
from verdex.contracts import IndexResult, JobRecord
from verdex.errors import JobConflict, StateRefused
from verdex.local.postgres import Postgres
from verdex.storage.database import Database
from verdex.storage.registry import Registry

REFUSED: Final = (asyncpg.IntegrityConstraintViolationError, StateRefused, JobConflict)
IDENTITY: Final[Row] = {
    "workflow_id": "index:default:repository:0", "project_id": "default", "repo_path": "/srv/repository",
    "force_reindex": False, "trace_id": "a" * 32,
}  # fmt: skip
OTHER_IDENTITY: Final[Row] = {
    "id": "00000000-0000-0000-0000-000000000001", "workflow_id": "another", "project_id": "other",
    "repo_path": "/another", "force_reindex": True, "trace_id": "b" * 32, "created_at": -1.0,
}  # fmt: skip
OF_ONE_JOB: Final = (
    "UPDATE job_events SET message = 'all is well' WHERE job_id = $1",
    "UPDATE job_events SET at = at - interval '1 hour' WHERE job_id = $1",
    "DELETE FROM job_events WHERE job_id = $1",
)
FORGERIES: Final = (
    *OF_ONE_JOB,
    "INSERT INTO job_events (job_id, at, event, attempt) VALUES ($1, now(), 'completed', 1)",
    "TRUNCATE job_events",
    "TRUNCATE indexing_jobs CASCADE",
)
MOST_JOBS: Final = 3
"""Of one example: few, so that much is written about each."""


def _time(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    if abs(seconds) == float("inf"):  # asyncpg's way to write infinity
        return datetime.max if seconds > 0 else datetime.min  # noqa: DTZ901
    return CREATED + timedelta(seconds=seconds)


EXAMPLES: Final = bounded(90, steps=30)
UNTIL_FOUND: Final = settings(EXAMPLES, max_examples=1000, phases=[Phase.generate], report_multiple_bugs=False)

few = st.integers(0, 3)
any_text = st.sampled_from([None, "", " \t\r\n", "connection refused"])
any_time = st.sampled_from([None, -5.0, 0.0, 1.0, 2.0, 60.0, float("inf"), float("-inf")])
VALUES: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "status": st.sampled_from([*WAYS, *sorted(TERMINAL), "done", "", None]),
    "result_status": st.sampled_from([None, "success", "partial", "failed", "done"]),
    "phase": st.sampled_from([None, "preflight", "scan", "index", "publish", "parse"]),
    "errors": st.sampled_from([[], ["a: gone"], ["a: gone", "b: gone"], [None], None]),
    "attempt": st.sampled_from([0, 1, 2, None]),
    "revision": st.sampled_from([0, 1, 5, None]),
    "generation": st.sampled_from([None, -1, 0, 1, 2]),
    "manifest_digest": st.sampled_from([None, "", "d" * 63, DIGEST, "D" * 64]),
    **dict.fromkeys(("status_message", "error_message", "error_type"), any_text),
    **dict.fromkeys(("started_at", "completed_at"), any_time),
    **dict.fromkeys(COUNTS, st.sampled_from([-1, 0, 1, 2, 5, None])),
}
words_and_times = sorted(VALUES.keys() - set(COUNTS))
some_changes = st.lists(
    st.sampled_from([*words_and_times, *words_and_times, *COUNTS]).flatmap(
        lambda name: st.tuples(st.just(name), VALUES[name])
    ),
    min_size=1,
    max_size=2,
).map(dict)


@st.composite
def results(draw: st.DrawFn) -> IndexResult:
    """Of a job that was published; true but for an empty index."""
    counts = {name: draw(few) for name in ("files_added", "files_changed", "files_unchanged", "files_skipped")}
    failed = draw(st.sampled_from([0, 0, 2]))
    indexed = counts["files_added"] + counts["files_changed"] + counts["files_unchanged"]
    return IndexResult(
        **counts,
        status="partial" if failed else "success",
        files_indexed=indexed, files_failed=failed, files_total=indexed + counts["files_skipped"] + failed,
        chunks_created=draw(few), chunks_total=draw(few), files_deleted=draw(few),
        errors=["2 files failed"] if failed else [], error_type="FilesFailed" if failed else None,
        generation=draw(st.integers(1, 3)), manifest_digest=DIGEST,
    )  # fmt: skip


any_result = st.one_of(
    st.none(),
    results(),
    st.builds(
        IndexResult,
        status=st.sampled_from(["success", "partial", "failed"]),
        errors=st.sampled_from([[], [" "], ["disk full"]]),
        error_type=any_text,
        files_total=few, files_skipped=few, files_failed=few, files_indexed=few, files_added=few,
        generation=st.sampled_from([None, 0, 1]), manifest_digest=st.sampled_from([None, "d", DIGEST]),
    ),
)  # fmt: skip


@st.composite
def truths(draw: st.DrawFn, status: str) -> Row:
    """The columns that a writer who means well sets, so that the row says `status`."""
    if status == "completed":
        result = draw(results())
        counts = {name: getattr(result, name) for name in (*COUNTS, "errors", "error_type") if name != "files_done"}
        return counts | {
            "status": status, "result_status": result.status, "completed_at": 60.0, "files_done": result.files_total,
            "generation": result.generation, "manifest_digest": DIGEST, "error_message": result.error_message,
        }  # fmt: skip
    told: dict[str, Row] = {
        "pending": {},
        "running": {"started_at": 1.0, "phase": draw(st.sampled_from([None, "scan"])), "attempt": draw(few) + 1},
        "blocked": {"status_message": "no connection", "attempt": draw(few) + 1},
        "failed": {
            "result_status": "failed", "error_message": "disk full", "error_type": "Trouble", "completed_at": 60.0
        },
        "cancelled": {"completed_at": 60.0},
    }  # fmt: skip
    return {"status": status} | told[status]


some_records = st.fixed_dictionaries(
    {
        "status": st.sampled_from([*WAYS, *sorted(TERMINAL)]),
        "step": st.sampled_from([1, 1, 2, 0, -1]),
        "result": any_result,
        "started_at": st.sampled_from([1.0, 2.0, -1.0]).map(_time),
        "completed_at": st.sampled_from([60.0, 0.0, None]).map(_time),
    },
    optional={
        "phase": st.sampled_from(["scan", "index"]),
        "status_message": any_text,
        "attempt": st.integers(1, 2),
        "files_total": st.sampled_from([0, 4, 9]),
    },
)


class RegistryWrites(RuleBasedStateMachine):
    """Writes of all kinds to a registry that is shared by all examples; each has jobs of its own."""

    database: Database
    connection: "asyncpg.Connection[asyncpg.Record]"
    run: Callable[[Awaitable[Any]], Any]
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(self.database)
        self.rows: dict[str, Row] = {}
        self.removed: set[str] = set()
        self.started = 0

    def attempt(self, write: Awaitable[Any], truth: bool) -> None:
        """Write; it must be stored if it is the truth, and refused if not."""
        refusal = None
        try:
            self.run(write)
        except REFUSED as error:
            refusal = error
        assert refusal is None or not truth, f"a truth was refused: {refusal}"
        assert refusal is not None or truth, "a lie was stored"

    def new_job(self) -> str:
        self.started += 1
        return str(uuid4())

    def under_way(self, job_id: str) -> str:
        """The job, or one that runs in place of it if it has ended."""
        if job_id in self.rows and not has_ended(self.rows[job_id]):
            return job_id
        another = str(uuid4())
        self.insert(another, {"status": "pending", "created_at": 0.0})
        self.set(another, {"status": "running", "started_at": 1.0})
        return another

    def next_status(self, data: st.DataObject, job_id: str) -> str:
        """One that the job may go on to, as far as there is any."""
        row = self.rows.get(job_id, NEW)
        return data.draw(st.sampled_from(sorted(WAYS.get(row["status"], TERMINAL))))

    # What a person at psql may try.

    def insert(self, job_id: str, row: Row) -> None:
        values = {"id": job_id} | IDENTITY | row
        places = ", ".join(f"${number}" for number, _ in enumerate(values, start=1))
        statement = f"INSERT INTO indexing_jobs ({', '.join(values)}) VALUES ({places})"
        new = job_id not in self.rows and job_id not in self.removed
        truth = new and may_begin(NEW | row)
        self.attempt(self.connection.fetch(statement, *_encoded(values)), truth)
        if truth:
            self.rows[job_id] = NEW | row

    @precondition(lambda self: self.started < MOST_JOBS)
    @rule(target=jobs, row=st.one_of(st.just({}), some_changes))
    def begin(self, row: Row) -> str:
        job_id = self.new_job()
        self.insert(job_id, {"status": "pending", "created_at": 0.0} | row)
        return job_id

    @rule(job_id=jobs, status=st.sampled_from(["pending", "pending", "completed"]))
    def begin_again(self, job_id: str, status: str) -> None:
        self.insert(job_id, {"status": status, "created_at": 0.0})

    @rule(job_id=jobs, data=st.data())
    def say_the_truth(self, job_id: str, data: st.DataObject) -> None:
        self.set(job_id, data.draw(truths(self.next_status(data, job_id))))

    @rule(job_id=jobs, data=st.data())
    def say_nearly_the_truth(self, job_id: str, data: st.DataObject) -> None:
        for changes in data.draw(st.lists(some_changes, min_size=1, max_size=8)):
            job_id = self.under_way(job_id)
            self.set(job_id, data.draw(truths(self.next_status(data, job_id))) | changes)

    @rule(job_id=jobs, data=st.data(), status=st.sampled_from([*WAYS, *sorted(TERMINAL)]))
    def say_what_cannot_come_next(self, job_id: str, data: st.DataObject, status: str) -> None:
        self.set(job_id, data.draw(truths(status)))

    @rule(job_id=jobs, changes=some_changes)
    def say_something(self, job_id: str, changes: Row) -> None:
        self.set(job_id, changes)

    @rule(job_id=jobs, name=st.sampled_from(sorted(OTHER_IDENTITY)))
    def change_identity(self, job_id: str, name: str) -> None:
        self.set(job_id, {name: OTHER_IDENTITY[name]}, same_job=False)

    def set(self, job_id: str, changes: Row, *, same_job: bool = True) -> None:
        if not changes:
            return
        row = self.rows.get(job_id)
        places = ", ".join(f"{name} = ${number}" for number, name in enumerate(changes, start=2))
        statement = f"UPDATE indexing_jobs SET {places} WHERE id = $1"
        truth = row is None or (same_job and may_become(row, row | changes))
        self.attempt(self.connection.fetch(statement, job_id, *_encoded(changes)), truth)
        if row is not None and truth:
            self.rows[job_id] = row | changes

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        row = self.rows.get(job_id)
        truth = row is None or has_ended(row)
        self.attempt(self.connection.fetch("DELETE FROM indexing_jobs WHERE id = $1", job_id), truth)
        if row is not None and truth:
            del self.rows[job_id]
            self.removed.add(job_id)
            self.begin_again(job_id, "pending")

    @rule(job_id=jobs, forgery=st.sampled_from(FORGERIES))
    def forge(self, job_id: str, forgery: str) -> None:
        changes_nothing = job_id not in self.rows and forgery in OF_ONE_JOB
        arguments = [job_id] if "$1" in forgery else []
        self.attempt(self.connection.fetch(forgery, *arguments), truth=changes_nothing)

    # What a workflow, its activities and the reconciler write.

    @precondition(lambda self: self.started < MOST_JOBS)
    @rule(target=jobs)
    def start(self) -> str:
        """A job whose row nobody has begun yet."""
        return self.new_job()

    @rule(job_id=jobs, records=st.lists(some_records, min_size=1, max_size=6))
    def record(self, job_id: str, records: list[Row]) -> None:
        for values in records:
            self.record_one(job_id, **values)

    def record_one(self, job_id: str, *, step: int, **values: Any) -> None:
        """At the revision of the row, or some steps before or after it."""
        row = self.rows.get(job_id)
        revision = max((row["revision"] if row else 0) + step, 0)
        record = job_record(revision=revision, job_id=job_id, **values)
        new = None if job_id in self.removed else self.told(row, record)
        self.attempt(self.registry.record(record), truth=new is not None)
        if new is not None:
            self.rows[job_id] = new

    @staticmethod
    def told(row: Row | None, record: JobRecord) -> Row | None:
        """The row after a record; None where it is refused."""
        row = NEW if row is None else row
        status, newer = record.state.status, record.revision > row["revision"]
        if has_ended(row):
            index = record.result.manifest_digest if record.result and status == "completed" else None
            is_same = (status, index) == (row["status"], row["manifest_digest"])
            return row if status not in TERMINAL or is_same else None
        if not newer and status not in TERMINAL:
            return row
        before = row
        if newer and (row["status"], status) in {
            ("pending", "blocked"), ("pending", "completed"), ("blocked", "completed")
        }:  # fmt: skip
            before = row | {"status": "running"}
            if record.started_at < CREATED:
                return None
        new = recorded(row, record)
        return new if may_become(before, new) else None

    @rule(job_id=jobs, done=st.sampled_from([-1, 0, 1, 3, 99]))
    def progress(self, job_id: str, done: int) -> None:
        self.attempt(self.registry.record_progress(job_id, done), truth=True)
        row = self.rows.get(job_id)
        if row is not None and row["status"] in {"running", "blocked"}:
            row["files_done"] = max(row["files_done"], min(done, row["files_total"]))

    # What holds at every moment.

    @invariant()
    def the_registry_holds_what_was_the_truth_and_nothing_else(self) -> None:
        columns = ", ".join(("id::text", *NEW))
        found = self.run(
            self.connection.fetch(
                f"SELECT {columns} FROM indexing_jobs WHERE id = ANY($1)", [*self.rows, *self.removed]
            )
        )
        assert {row["id"]: _decoded(row) for row in found} == self.rows
        assert [lie(_decoded(row)) for row in found] == [None] * len(found)

    @invariant()
    def the_events_of_a_job_tell_how_it_came_to_say_what_it_says(self) -> None:
        query = """
            SELECT job_id::text AS job_id, array_agg(event ORDER BY id) AS events, array_agg(at ORDER BY id) AS times,
                   (array_agg(ROW(CASE event WHEN 'created' THEN 'pending' ELSE event END, phase, attempt, message)
                    ORDER BY id DESC))[1] AS last
            FROM job_events WHERE job_id = ANY($1) GROUP BY job_id
        """
        found = {row["job_id"]: row for row in self.run(self.connection.fetch(query, [*self.rows, *self.removed]))}
        assert found.keys() == self.rows.keys()
        for job_id, told in found.items():
            _check_events(told["events"], told["times"])
            row = self.rows[job_id]
            message = row["status_message"] if row["error_message"] is None else row["error_message"]
            assert tuple(told["last"]) == (row["status"], row["phase"], row["attempt"], message)


def _check_events(events: list[str], times: list[datetime]) -> None:
    assert events[0] == "created"
    assert "created" not in events[1:]
    assert times == sorted(times)
    for before, after in pairwise(["pending", *events[1:]]):
        assert after in WAYS.get(before, ()), f"{after} came after {before}"


def _encoded(values: Row) -> list[Any]:
    return [_time(value) if name in TIMES else value for name, value in values.items()]


def _decoded(record: asyncpg.Record) -> Row:
    row = {name: record[name] for name in NEW}
    times = {name: (row[name] - CREATED).total_seconds() for name in TIMES if row[name] is not None}
    return row | times


@asynccontextmanager
async def writers(postgres: Postgres) -> AsyncIterator[None]:
    """An empty registry, and those who write to it."""
    async with new_database(postgres, "registry") as database:
        RegistryWrites.database = database
        RegistryWrites.connection = await asyncpg.connect(postgres.url(str(database.name)))
        yield
        await RegistryWrites.connection.close()


@pytest.fixture
def machine(postgres: Postgres) -> Iterator[type[RegistryWrites]]:
    """Over an event loop of its own: a state machine is not asynchronous."""
    loop = asyncio.new_event_loop()
    resources = writers(postgres)
    loop.run_until_complete(resources.__aenter__())
    RegistryWrites.run = staticmethod(loop.run_until_complete)
    yield RegistryWrites
    loop.run_until_complete(resources.__aexit__(None, None, None))
    loop.close()


@pytest.mark.parametrize(
    "hole",
    [
        "ALTER TABLE indexing_jobs DROP CONSTRAINT completed_holds_files",
        "ALTER TABLE indexing_jobs DROP CONSTRAINT failed_says_why",
        "ALTER TABLE indexing_jobs DISABLE TRIGGER guard_job",
        "ALTER TABLE indexing_jobs DISABLE TRIGGER write_job_event",
        "ALTER TABLE job_events DISABLE TRIGGER guard_job_event",
    ],
)
def test_a_registry_with_a_hole_is_found_out(machine: type[RegistryWrites], hole: str):
    """Or the test below would prove nothing."""
    machine.run(machine.connection.execute(hole))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=UNTIL_FOUND)


def test_a_truth_is_stored_and_a_lie_is_refused_whoever_writes(machine: type[RegistryWrites]):
    run_state_machine_as_test(machine, settings=EXAMPLES)
