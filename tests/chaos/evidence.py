"""What is there to see after a job, by plain SQL and by Temporal's own command: nothing here goes through verdex."""

import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg

from tests.chaos.stack import Stack
from tests.chaos.trees import Expected, World

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row = Mapping[str, Any]

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
SECONDS: Final = 10.0
"""Longest that PostgreSQL may take to answer."""
CLOSE_SECONDS: Final = 2.0
"""Within this time a workflow closes after its row is terminal, if nothing goes wrong."""


class Chunk(NamedTuple):
    """A run of lines that a search can return."""

    start_line: int
    end_line: int
    content: str


class File(NamedTuple):
    """One path of a published manifest."""

    outcome: str
    reason: str
    content_hash: bytes | None
    chunks: tuple[Chunk, ...]


class Index(NamedTuple):
    """All that a search of one repository can see, and what only its counts are made of."""

    generation: int
    manifest_id: int
    job_id: str
    files: Mapping[str, File]
    chunks_total: int
    chunks_created: int

    @property
    def indexed(self) -> dict[str, bytes]:
        """The hash of the content of each path that is indexed."""
        return {path: file.content_hash for path, file in self.files.items() if file.content_hash is not None}


Place = tuple[str, str]
"""A project, and the path of a repository in it."""

Indexes = Mapping[Place, Index]


class Case(NamedTuple):
    """Everything that is known of one job, for the oracle to judge."""

    place: Place
    job_id: str
    row: Row | None
    events: list[Row]
    temporal: str
    """What Temporal says of the workflow: `COMPLETED`, `FAILED`, `TERMINATED`, `CANCELED`, …"""
    exit_code: int | None
    """Of the command that waited for the job; None if it could not be reached, or waited for another."""
    told: Row
    """What that command printed."""
    complaint: str
    """What it wrote to stderr."""
    status_exit_code: int | None
    status_told: Row
    """What `verdex status` says afterwards."""
    new_jobs: frozenset[str]
    """The rows that came since the job was asked for."""
    claims: frozenset[str]
    """The jobs that other starts meanwhile were told of."""
    before: Indexes
    after: Indexes
    expected: Mapping[str, Expected]
    worlds: Sequence[World]
    """Where the tree changed meanwhile, what may have been seen of it instead; otherwise empty."""
    ends: frozenset[str]
    """The ends that are true after what was done to the job."""
    causes: str
    """A pattern that the message of a failed job must match."""
    gone: str
    """A pattern that the status message of a completed job must match because its index is gone; empty if it is not."""


@asynccontextmanager
async def connected(url: str, database: str | None = None, user: str | None = None) -> AsyncIterator[Connection]:
    """A connection to one database of the server; `database` and `user` take the place of those of the URL.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: it does not answer.
    """
    connection = await asyncpg.connect(url, database=database, user=user, timeout=SECONDS, command_timeout=SECONDS)
    try:
        yield connection
    finally:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=SECONDS)


async def row(registry: Connection, job_id: str) -> Row | None:
    """The row of a job."""
    found = await registry.fetchrow("SELECT *, id::text AS job_id FROM indexing_jobs WHERE id = $1", UUID(job_id))
    return dict(found) if found else None


async def job_ids(registry: Connection) -> frozenset[str]:
    """Every job that has a row."""
    return frozenset(found["id"] for found in await registry.fetch("SELECT id::text FROM indexing_jobs"))


async def events(registry: Connection, job_id: str) -> list[Row]:
    """What happened to a job, in the order in which it was written."""
    found = await registry.fetch("SELECT * FROM job_events WHERE job_id = $1 ORDER BY id", UUID(job_id))
    return [dict(one) for one in found]


async def indexes(url: str, databases: Mapping[str, str]) -> Indexes:
    """What searches see, of every repository; `databases` has the database of each project."""
    found: dict[Place, Index] = {}
    for project, database in databases.items():
        async with connected(url, database) as connection:
            found |= {(project, path): index for path, index in (await published(connection)).items()}
    return found


async def published(connection: Connection) -> dict[str, Index]:
    """What searches of one project see, by the path of the repository."""
    rows = await connection.fetch(
        """
        SELECT path, repositories.generation, manifest_id, job_id::text FROM repositories
        JOIN manifests ON manifests.id = repositories.manifest_id
        """
    )
    return {found["path"]: await _index(connection, found) for found in rows}


async def _index(connection: Connection, repository: asyncpg.Record) -> Index:
    manifest_id = repository["manifest_id"]
    files = await connection.fetch(
        """
        SELECT path, outcome, coalesce(reason, '') AS reason, blob_id, content_hash
        FROM files LEFT JOIN blobs ON blobs.id = files.blob_id
        WHERE files.manifest_id = $1
        """,
        manifest_id,
    )
    chunks = await _chunks(connection, {file["blob_id"] for file in files} - {None})
    created = await connection.fetchval(
        "SELECT count(*) FROM chunks JOIN blobs ON blobs.id = chunks.blob_id WHERE blobs.manifest_id = $1", manifest_id
    )
    return Index(
        generation=repository["generation"],
        manifest_id=manifest_id,
        job_id=repository["job_id"],
        files={
            file["path"]: File(
                file["outcome"], file["reason"], file["content_hash"], tuple(chunks.get(file["blob_id"], ()))
            )
            for file in files
        },
        chunks_total=sum(map(len, chunks.values())),
        chunks_created=created,
    )


async def _chunks(connection: Connection, blobs: set[int]) -> dict[int, list[Chunk]]:
    rows = await connection.fetch(
        """
        SELECT blob_id, start_line, end_line, content FROM chunks
        WHERE blob_id = ANY ($1::bigint[]) ORDER BY blob_id, ordinal
        """,
        list(blobs),
    )
    found: dict[int, list[Chunk]] = {}
    for blob_id, *chunk in rows:
        found.setdefault(blob_id, []).append(Chunk(*chunk))
    return found


async def temporal_status(stack: Stack, workflow_id: str, job_id: str, seconds: float) -> str:
    """What Temporal says of a workflow, once it is closed or has had its time to close."""
    deadline = time.monotonic() + seconds
    while True:
        told = await stack.temporal("workflow", "describe", "--workflow-id", workflow_id, "--run-id", job_id)
        status = str(told.json.get("workflowExecutionInfo", {}).get("status", "UNKNOWN"))
        status = status.removeprefix("WORKFLOW_EXECUTION_STATUS_")
        if status not in {"RUNNING", "UNKNOWN"} or time.monotonic() > deadline:
            return status


def digest(expected: Mapping[str, Expected]) -> str:
    """The digest that a manifest of these files must have."""
    indexed = sorted((path.encode(), one.content) for path, one in expected.items() if one.outcome == "indexed")
    parts = (path + b"\0" + hashlib.sha256(content).digest() for path, content in indexed)
    return hashlib.sha256(b"".join(parts)).hexdigest()
