"""Jobs under real workers, whose steps a test can hold up or break."""

import asyncio
import functools
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

import worker as worker_module
from activities.identity import JobIds
from activities.indexing import IndexingActivities
from tests.conftest import DEADLINE
from verdex.client import Verdex
from verdex.contracts import RECONCILE_JOBS, IndexResult, Job, Manifest
from verdex.indexing.chunking import chunk
from verdex.indexing.pool import ChunkPool
from verdex.local.postgres import Postgres
from verdex.settings import Settings
from verdex.storage import manifests
from verdex.storage.database import Database, Server
from verdex.telemetry import Tracing
from verdex.telemetry.logs import JsonFormatter
from verdex.telemetry.otlp import StoredSpan
from verdex.telemetry.store import read
from worker import working

ENDS = "activities.ends"
PROJECT_ROOT = Path(worker_module.__file__).parent
SAME_STATUS = {
    "completed": WorkflowExecutionStatus.COMPLETED,
    "failed": WorkflowExecutionStatus.FAILED,
    "cancelled": WorkflowExecutionStatus.CANCELED,
}


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the test may stop."""
    home = Path(tempfile.mkdtemp(prefix="verdex-"))
    home.chmod(0o755)
    server = Postgres(home)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(home)


class Gate:
    """Holds a step up until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def passed(self) -> None:
        """Wait, in the step, until the gate is open."""
        self._reached.set()
        await self._opened.wait()

    async def reached(self) -> None:
        """Wait, in the test, until a step stands before the gate."""
        async with asyncio.timeout(DEADLINE):
            await self._reached.wait()

    def open(self) -> None:
        self._opened.set()

    def shut(self) -> None:
        """Make ready for the next step."""
        self._reached.clear()
        self._opened.clear()


@pytest.fixture
def gate() -> Gate:
    return Gate()


Hold = Callable[[str], type[IndexingActivities]]


@pytest.fixture
def hold(gate: Gate) -> Hold:
    """Steps one of which begins when the gate opens."""

    def held_up_before(step: str) -> type[IndexingActivities]:
        original = getattr(IndexingActivities, step)

        @functools.wraps(original, updated=())
        async def held_up(*arguments):
            await gate.passed()
            return await original(*arguments)

        return type("HeldUp", (IndexingActivities,), {step: activity.defn(held_up)})

    return held_up_before


@pytest.fixture
def held_up(hold: Hold) -> type[IndexingActivities]:
    """Steps that begin when the gate opens."""
    return hold("preflight")


@pytest.fixture
def committing(gate: Gate) -> type[IndexingActivities]:
    """Steps that stop right after the commit of the publish."""

    class Committing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            result = await super().publish(manifest)
            await gate.passed()
            return result

    return Committing


RunWorker = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def run_worker(
    client: Client, server: Server, pool: ChunkPool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> RunWorker:
    """Run a worker with a class that does some of the steps in another way."""

    @asynccontextmanager
    async def run(
        activities: type[IndexingActivities] = IndexingActivities, settings: Settings = settings
    ) -> AsyncIterator[None]:
        monkeypatch.setattr(worker_module, "IndexingActivities", activities)
        async with working(client, server, pool, settings):
            yield

    return run


@contextmanager
def worker_process(settings: Settings, address: str, log: Path) -> Iterator[psutil.Popen]:
    """A worker as it runs in production; killed at the end of the block, if it still runs."""
    environment = os.environ | {
        "VERDEX_HOME": str(settings.home),
        "VERDEX_DATABASE_URL": settings.database_dsn,
        "VERDEX_TASK_QUEUE": settings.task_queue,
        "VERDEX_PROCESSES": "1",
        "TEMPORAL_ADDRESS": address,
    }
    with log.open("ab") as output:
        process = psutil.Popen([sys.executable, "-m", "worker"], cwd=PROJECT_ROOT, env=environment, stderr=output)
    try:
        yield process
    finally:
        if process.is_running():
            process.kill()
        process.wait()


def chunks_of(repository: Path) -> int:
    return sum(len(chunk(path.read_text(), "python")) for path in repository.iterdir())


@pytest.fixture
def finished(verdex: Verdex, client: Client) -> Callable[[str], Awaitable[Job]]:
    """Follow a job to its end, at which its row and Temporal must agree."""

    async def follow(job_id: str) -> Job:
        async with asyncio.timeout(DEADLINE):
            job = [job async for job in verdex.follow(job_id)][-1]
            await closed(client, job)
        description = await client.get_workflow_handle(job.workflow_id, run_id=job_id).describe()
        assert description.status == SAME_STATUS[job.status]
        return job

    return follow


@pytest.fixture
def index(verdex: Verdex, finished: Callable[[str], Awaitable[Job]]) -> Callable[..., Awaitable[Job]]:
    """Run a job to its end."""

    async def run(repository: Path, **options: Any) -> Job:
        return await finished((await verdex.index(repository, **options)).job_id)

    return run


@pytest.fixture
def reconcile(client: Client, settings: Settings) -> Callable[[], Awaitable[int]]:
    """Run the reconciliation once, as the schedule does; the number of rows that were ended."""
    workflow_id = f"reconcile-{settings.task_queue}"
    return lambda: client.execute_workflow(RECONCILE_JOBS, id=workflow_id, task_queue=settings.task_queue)


async def closed(client: Client, job: Job) -> None:
    try:
        await client.get_workflow_handle(job.workflow_id, run_id=job.job_id).result()
    except WorkflowFailureError:
        return


SpansOf = Callable[[Job], list[StoredSpan]]


@pytest.fixture
def spans_of(tracing: Tracing, short_directory: Path) -> SpansOf:
    """The spans of a job that have ended."""

    def spans(job: Job) -> list[StoredSpan]:
        tracing.flush()
        return read(short_directory / "traces", job.trace_id or "")

    return spans


Line = dict[str, Any]


class Log:
    """The stream of the worker."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def of(self, job: Job) -> list[Line]:
        return [line for line in self.lines() if line.get("job_id") == job.job_id]

    def ends(self) -> list[Line]:
        return [line for line in self.lines() if line["logger"] == ENDS and line["message"].startswith("job ")]


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged, as the worker writes it."""
    log = Log()
    handler = logging.StreamHandler(log.stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(JobIds())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield log
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def project(server: Server) -> Database:
    """The database of the project `default`."""
    return server.database("cb_proj_default")


async def tamper(database: Database, *statements: str) -> None:
    """Change what the database would refuse, as only its superuser can."""
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)


async def fail_file(server: Server, manifest: Manifest, path: str, reason: str) -> None:
    """Let it be a file that could not be indexed; there is none that root cannot read."""
    async with server.database(manifest.database_name).connection() as connection:
        await connection.execute(
            "UPDATE files SET outcome = 'failed', reason = $3, blob_id = NULL WHERE manifest_id = $1 AND path = $2",
            manifest.manifest_id,
            path,
            reason,
        )


@pytest.fixture
def published(server: Server) -> Callable[[Path], Awaitable[int]]:
    """Number of files that a search sees of a repository in the project `default`."""

    async def count(repository: Path) -> int:
        async with server.database("cb_proj_default").connection() as connection:
            return int(
                await connection.fetchval(
                    """
                    SELECT count(*) FROM repositories JOIN files USING (manifest_id)
                    WHERE repositories.path = $1 AND files.outcome = 'indexed'
                    """,
                    str(repository),
                )
            )

    return count


@pytest.fixture
async def states(server: Server) -> Callable[[], Awaitable[list[tuple[str, str | None]]]]:
    """Every status and message that a row of the registry ever had."""
    async with server.registry.connection() as connection:
        await connection.execute(
            """
            CREATE TABLE states (number serial, status text, message text);
            CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO states (status, message) VALUES (NEW.status, NEW.status_message);
                RETURN NULL;
            END $$;
            CREATE TRIGGER keep AFTER INSERT OR UPDATE ON indexing_jobs FOR EACH ROW EXECUTE FUNCTION keep();
            """
        )

    async def read() -> list[tuple[str, str | None]]:
        async with server.registry.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch("SELECT * FROM states ORDER BY number")
        return [(row["status"], row["message"]) for row in rows]

    return read


@pytest.fixture
def many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A repository of `count` files, each of which is a shard as long as there are not too many."""

    def write(count: int) -> Path:
        monkeypatch.setattr(manifests, "SHARD_BYTES", 1)
        root = tmp_path / "many"
        root.mkdir()
        for number in range(count):
            (root / f"{number}.py").write_text(f"number = {number}\n")
        return root

    return write


@pytest.fixture
def python_files(tmp_path: Path) -> Callable[[int, int], Path]:
    """A repository of `count` different Python files of about `size` bytes."""

    def write(count: int, size: int) -> Path:
        root = tmp_path / "generated"
        root.mkdir()
        for number in range(count):
            functions = "".join(
                f"def function_{number}_{line}(argument):\n    return argument + {line}\n\n\n"
                for line in range(size // 60)
            )
            (root / f"module_{number}.py").write_text(functions)
        return root

    return write
