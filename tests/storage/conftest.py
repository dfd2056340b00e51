"""Databases that the tests of storage share, `psql`, and a small repository that never touches a disk."""

import hashlib
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from tests.storage.many_jobs import JOBS, fill
from tests.storage.plans import log_plans
from verdex.contracts import IndexResult, JobIdentity, JobRecord, JobState, JobStatus, Manifest, Outcome
from verdex.local.postgres import Postgres, binaries
from verdex.storage import blobs
from verdex.storage.blobs import BlobKey
from verdex.storage.copying import encoded
from verdex.storage.database import Connection, Database, Server
from verdex.storage.manifests import IndexedFile, Manifests, ScannedFile, settle
from verdex.storage.migrations import Kind, migrate
from verdex.storage.publish import publish
from verdex.storage.registry import Registry

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTED = CREATED + timedelta(seconds=1)
ENDED = CREATED + timedelta(seconds=61)
DIGEST = "d" * 64


@asynccontextmanager
async def new_database(postgres: Postgres, kind: Kind | None = None) -> AsyncIterator[Database]:
    """Create a database, migrated where a kind is given, and drop it afterwards."""
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres.url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}"')
    database = Database(postgres.url(name), name)
    if kind:
        await migrate(database, kind)
    yield database
    await database.close()
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
async def empty_database(postgres: Postgres) -> AsyncIterator[Database]:
    async with new_database(postgres) as database:
        yield database


@pytest.fixture(scope="session")
async def psql(postgres: Postgres) -> AsyncIterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Run a script with the real program, in a transaction that is rolled back, in a registry that is empty."""
    async with new_database(postgres, "registry") as database:

        def run(script: str) -> subprocess.CompletedProcess[str]:
            options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-f", "-"]
            command = [str(binaries() / "psql"), *options, postgres.url(str(database.name))]
            return subprocess.run(
                command, input=f"BEGIN; {script} ROLLBACK;", text=True, capture_output=True, check=False
            )

        yield run


@pytest.fixture(scope="session")
async def shared_registry(postgres: Postgres) -> AsyncIterator[Database]:
    async with new_database(postgres, "registry") as database:
        yield database


@pytest.fixture
async def registry_url(postgres: Postgres, shared_registry: Database) -> AsyncIterator[str]:
    """A registry without rows: much faster to empty than to create, though only without its triggers."""
    yield postgres.url(str(shared_registry.name))
    async with shared_registry.connection() as connection:
        for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'cb\\_proj\\_%'"):
            await connection.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("DELETE FROM job_events")
        await connection.execute("DELETE FROM indexing_jobs")
        await connection.execute("DELETE FROM projects")


class Crowd(NamedTuple):
    """A registry with many jobs, the ids of the newest, and the database of a project that knows those."""

    server: Server
    ids: Sequence[str]
    project: Database


@pytest.fixture(scope="session")
async def crowd(postgres: Postgres) -> AsyncIterator[Crowd]:
    """Its plans are logged."""
    async with new_database(postgres, "registry") as database, new_database(postgres, "project") as project:
        await fill(database, JOBS)
        async with database.connection() as connection:
            await connection.execute("INSERT INTO untold_ends SELECT id FROM indexing_jobs WHERE completed_at < now()")
            await connection.execute("VACUUM ANALYZE untold_ends")
            rows = await connection.fetch("SELECT id::text FROM indexing_jobs ORDER BY created_at DESC LIMIT 40")
        for row in rows:
            await Tree(project).open(job_id=row["id"])
        await log_plans(database)
        async with Server(postgres.url(str(database.name))) as server:
            yield Crowd(server, [row["id"] for row in rows], project)


@pytest.fixture
def registry(server: Server) -> Registry:
    return Registry(server.registry)


@pytest.fixture(scope="session")
async def project(postgres: Postgres) -> AsyncIterator[Database]:
    """A database of a project; each test has a repository of its own in it."""
    async with new_database(postgres, "project") as database:
        yield database


@pytest.fixture
def tree(project: Database) -> "Tree":
    return Tree(project)


def job_record(
    status: JobStatus = "running", *, revision: int = 1, job_id: str | None = None, **values: Any
) -> JobRecord:
    """A record of a job; of a job that ended where `result` or a terminal `status` is given."""
    identity = {"project_id": "default", "repo_path": "/srv/repository", "created_at": CREATED}
    identity |= {name: values.pop(name) for name in identity.keys() & values.keys()}
    ended = {"completed_at": ENDED} if status in {"completed", "failed", "cancelled"} else {}
    ended |= {name: values.pop(name) for name in ("result", "completed_at") if name in values}
    started_at = values.pop("started_at", max(STARTED, identity["created_at"]))  # type: ignore[call-overload]
    return JobRecord(
        identity=JobIdentity(
            job_id=job_id or str(uuid4()), workflow_id="index:default:repository:0", force_reindex=False,
            trace_id="a" * 32, **identity,
        ),
        revision=revision,
        state=JobState(status=status, **values),
        started_at=started_at,
        **ended,
    )  # fmt: skip


def success(files: int = 3, **counts: Any) -> IndexResult:
    counts = {"files_total": files, "files_indexed": files, "files_added": files} | counts
    return IndexResult(status="success", **{"generation": 1, "manifest_digest": DIGEST} | counts)


def failure(*errors: str, **counts: Any) -> IndexResult:
    return IndexResult(status="failed", errors=errors, error_type="Trouble", **counts)


class Line(NamedTuple):
    """A chunk of one line."""

    start_line: int
    content: str
    kind: str = "block"
    symbol: str | None = None

    @property
    def end_line(self) -> int:
        return self.start_line


class File(NamedTuple):
    """A file of a `Tree`: its content, or what became of it."""

    content: str = ""
    outcome: Outcome = "indexed"
    by_scan: bool = False
    fingerprinted: bool = True
    language: str = ""

    @property
    def fingerprint(self) -> str | None:
        return f"state of {self.content}" if self.fingerprinted else None

    @property
    def reason(self) -> str | None:
        return None if self.outcome == "indexed" else f"was {self.outcome}"


Files = Mapping[str, File | str]


class Tree:
    """A repository of which the tests say what the scan saw and what became of each file."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.manifests = Manifests(database)
        self.path = f"/srv/{uuid4().hex}"

    def text(self, content: str) -> str:
        """Make contents differ from those of other tests, which share the database."""
        return f"{self.path}\n{content}"

    async def open(
        self,
        *,
        force: bool = False,
        version: int = 1,
        embedder_id: int | None = None,
        job_id: str | None = None,
    ) -> Manifest:
        return await self.manifests.open(
            job_id or str(uuid4()),
            self.path,
            force_reindex=force,
            pipeline_version=version,
            embedder_id=embedder_id,
        )

    async def plan(self, manifest: Manifest, files: Files) -> None:
        await self.manifests.plan(manifest.manifest_id, _scan(_files(files)))

    async def settle(self, manifest: Manifest, files: Files) -> list[str]:
        """Give every file that is left its outcome; the paths of those that were left."""
        known, done = _files(files), []
        for shard in await self.manifests.shards_left(manifest.manifest_id):
            for left in await self.manifests.files_left(manifest.manifest_id, shard):
                file = known[left.path]
                async with self.database.transaction() as connection:
                    blob_id = await self._blob(connection, manifest, file) if file.outcome == "indexed" else None
                    row = IndexedFile(left.ordinal, left.size, file.fingerprint, file.outcome, file.reason, blob_id)
                    await settle(connection, manifest.manifest_id, [row])
                done.append(left.path)
        return done

    async def _blob(self, connection: Connection, manifest: Manifest, file: File) -> int:
        key = self.key(file)
        if found := await blobs.known(self.database, manifest.manifest_id, [key]):
            return found[key]
        return (await blobs.store(connection, manifest.manifest_id, {key: encoded(self.lines(file))}))[key]

    def key(self, file: File) -> BlobKey:
        return BlobKey(hashlib.sha256(self.text(file.content).encode()).digest(), file.language)

    def lines(self, file: File) -> list[Line]:
        """Two chunks: the path of the tree, and the content."""
        return [Line(number, line) for number, line in enumerate(self.text(file.content).split("\n"), start=1)]

    async def index(self, files: Files, *, force: bool = False, version: int = 1, ratio: float = 0.5) -> IndexResult:
        """A whole job."""
        manifest = await self.open(force=force, version=version)
        await self.plan(manifest, files)
        await self.settle(manifest, files)
        return await self.publish(manifest, ratio)

    async def publish(self, manifest: Manifest, ratio: float = 0.5) -> IndexResult:
        return await publish(self.database, manifest.manifest_id, max_failed_ratio=ratio)

    async def visible(self) -> dict[str, list[str]]:
        """All that a search can see: the contents of the chunks, by path."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT files.path, array_agg(chunks.content ORDER BY chunks.ordinal) AS contents
                FROM repositories JOIN files USING (manifest_id) JOIN chunks USING (blob_id)
                WHERE repositories.path = $1 GROUP BY files.path
                """,
                self.path,
            )
        return {row["path"]: row["contents"][1:] for row in rows}

    async def generation(self) -> int:
        async with self.database.connection() as connection:
            return int(await connection.fetchval("SELECT generation FROM repositories WHERE path = $1", self.path))


def _files(files: Files) -> dict[str, File]:
    return {path: File(file) if isinstance(file, str) else file for path, file in files.items()}


async def _scan(files: Mapping[str, File]) -> AsyncIterator[ScannedFile]:
    for path, file in files.items():
        settled = (file.outcome, file.reason) if file.by_scan else (None, None)
        yield ScannedFile(path, len(file.content), file.fingerprint, *settled)
