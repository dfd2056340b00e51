"""However many jobs there are, no query on the registry reads more of them, and each finds what it should.

All that the program asks the registry is asked here, and PostgreSQL tells by which plans it answered, and how many rows
and pages each part of them read. What reads a twentieth of a table here would read all of it one day.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

import verdex
from tests.storage.conftest import Crowd, failure, job_record, success
from tests.storage.many_jobs import BUSY, BUSY_REPOSITORY, FILTERS, JOBS, SECONDS_APART
from tests.storage.plans import PlanLog, Scan
from verdex.local.postgres import Postgres
from verdex.storage import claims, namespaces, retention
from verdex.storage.claims import Repository
from verdex.storage.database import Server
from verdex.storage.namespaces import Namespace
from verdex.storage.observation import Observation
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry

MOST_ROWS: Final = JOBS // 20
TIMES: Final = 7
"""From the sixth time on, PostgreSQL may use one plan for all values."""
FEW: Final = {"projects", "temporal_namespace", "schema_migrations"}
"""The tables that do not grow with the jobs; a new one counts as growing."""
SQL: Final = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE) (?:indexing_jobs|job_events|untold_ends|removed_jobs)\b")
PUBLIC: Final = "SELECT status, error_message, files_indexed FROM indexing_jobs ORDER BY created_at DESC LIMIT 1;"
ENDS: Final[list[dict[str, Any]]] = [
    {"status": "completed", "result": success()},
    {"status": "failed", "result": failure("disk full")},
    {"status": "cancelled"},
]


class Asked:
    """Passes everything on, and remembers what."""

    def __init__(self, target: object) -> None:
        self._target = target
        self.names = set[str]()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self._target, name)

    def public(self) -> set[str]:
        """The names of all that sends a query."""
        if not inspect.ismodule(self._target):
            return {name for name in vars(type(self._target)) if not name.startswith("_")}
        functions = inspect.getmembers(self._target, inspect.iscoroutinefunction)
        return {name for name, one in functions if one.__module__ == self._target.__name__ and not name.startswith("_")}


async def ask_registry(asked: Any, crowd: Crowd) -> None:
    for end in ENDS:
        job_id = str(uuid4())
        await asked.record(job_record("running", job_id=job_id, files_total=3))
        await asked.record_progress(job_id, 2)
        await asked.record(job_record(job_id=job_id, revision=2, **end))
    for filters in FILTERS:
        await asked.jobs(**filters)
    await asked.job(crowd.ids[20])
    await asked.events(crowd.ids[20])
    await asked.newest_of(BUSY, [BUSY_REPOSITORY, "/unknown"])
    await asked.with_ids(crowd.ids)
    for part in (crowd.ids[20], crowd.ids[20][:13], crowd.ids[20][-8:], "0", "ffff", "dead"):
        await asked.ids(part, 6)
    await asked.unrecorded([*crowd.ids, str(uuid4())])
    await asked.unfinished()
    for one in (None, crowd.ids[20], crowd.ids[0]):
        async with asked.untold_ends(one):
            pass


async def ask_observation(asked: Any, crowd: Crowd) -> None:
    await asked.ended(await asked.last_event() - 200)
    await asked.kinds()
    await asked.phases(crowd.ids)
    await asked.unfinished()
    await asked.projects()


async def ask_claims(asked: Any, crowd: Crowd) -> None:
    registry = crowd.server.registry
    await asked.claims(registry, await asked.repositories(registry))
    for repository in (Repository(BUSY, BUSY_REPOSITORY), Repository("unknown", "/unknown")):
        await asked.claim(registry, repository)


async def ask_retention(asked: Any, crowd: Crowd) -> None:
    registry = crowd.server.registry
    for oldest in (100, 50):
        await asked.remove_old_jobs(registry, timedelta(seconds=SECONDS_APART) * (JOBS - oldest))
    await asked.was_removed(registry, crowd.ids[0])
    await asked.collect_manifests(crowd.project, registry, timedelta(0))
    await asked.collect_blobs(crowd.project)
    await asked.collect_vectors(crowd.project, timedelta(0))


async def ask_namespaces(asked: Any, crowd: Crowd) -> None:
    await asked.owner(crowd.server.registry, Namespace("an id", "default"))
    await asked.remembered(crowd.server.registry)


async def ask_projects(asked: Any, _: Crowd) -> None:
    await asked.create("planned")
    await asked.find("planned")
    await asked.database("planned")
    await asked.set_embedder("planned", None)
    await asked.list()
    await asked.drop("planned")


Ask = Callable[[Any, Crowd], Awaitable[None]]
ASKED: Final[dict[str, tuple[Callable[[Server], object], Ask, int]]] = {
    "registry": (lambda server: Registry(server.registry), ask_registry, TIMES),
    "observation": (lambda server: Observation(server.registry), ask_observation, TIMES),
    "claims": (lambda _: claims, ask_claims, TIMES),
    "retention": (lambda _: retention, ask_retention, TIMES),
    "namespaces": (lambda _: namespaces, ask_namespaces, TIMES),
    "projects": (Projects, ask_projects, 1),  # it takes its time to create a database
}
"""The modules that send queries to the registry, and how often they are asked."""


def wasteful(scans: Sequence[Scan]) -> list[Scan]:
    growing = [scan for scan in scans if scan.table not in FEW and not scan.table.startswith("pg_")]
    return [scan for scan in growing if scan.is_wasteful(MOST_ROWS)]


@pytest.mark.parametrize("module", ASKED)
async def test_whatever_the_program_asks_few_rows_are_read(crowd: Crowd, postgres: Postgres, module: str):
    make, ask, times = ASKED[module]
    asked, log = Asked(make(crowd.server)), PlanLog(postgres)
    for _ in range(times):
        await ask(asked, crowd)
    assert asked.names == asked.public(), "whatever sends a query has to be called here"
    scans = log.scans()
    assert scans
    assert wasteful(scans) == []


async def test_the_query_of_the_public_contract_reads_few_rows(crowd: Crowd, postgres: Postgres):
    log = PlanLog(postgres)
    async with crowd.server.registry.connection() as connection:
        await connection.fetch(PUBLIC)
    assert wasteful(log.scans()) == []


def test_only_modules_that_are_asked_here_have_queries_on_the_registry():
    root = Path(verdex.__file__).parent
    found = {
        path.stem
        for folder in (root, root.parent / "activities")
        for path in folder.rglob("*.py")
        if SQL.search(path.read_text())
    }
    assert found - {"newest"} <= ASKED.keys()


SCANS: Final = {
    "all rows": "SELECT count(DISTINCT trace_id) FROM indexing_jobs",
    "all rows, by an index": "SELECT count(*) FROM indexing_jobs",
    "a sort of all rows": "SELECT id FROM indexing_jobs ORDER BY duration_seconds DESC LIMIT 1",
    "back in time to the begin": "SELECT id FROM indexing_jobs WHERE workflow_id = '' ORDER BY created_at DESC LIMIT 1",
    "all of an index for few rows": (
        "SET enable_seqscan = off; SELECT FROM indexing_jobs WHERE status = 'completed' AND generation = 0"
    ),
    "in a function": "DO $$ BEGIN PERFORM FROM job_events WHERE attempt = 2; END $$",
}


@pytest.mark.parametrize("scan", SCANS)
async def test_a_query_that_reads_a_table_is_noticed(crowd: Crowd, postgres: Postgres, scan: str):
    log = PlanLog(postgres)
    async with crowd.server.registry.connection() as connection:
        await connection.execute(SCANS[scan])
    assert wasteful(log.scans())
