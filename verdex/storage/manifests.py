"""The manifest of a job: which path of a repository holds which blob, built up file by file.

A manifest is `open` until its scan is stored, `planned` while shards are indexed, and then `published` or
`abandoned`, for good. Everything here can be done twice without harm, because activities run at least once.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from verdex.contracts import FileOutcome, Manifest, Outcome
from verdex.errors import PermanentError
from verdex.storage.database import Connection, Database
from verdex.storage.statements import statement

SHARD_BYTES: Final = 4 * 1024 * 1024
"""Of a tree that is small; of a large one, shards are larger."""
SHARDS: Final = 64
"""About so many, so that the history of a workflow is bounded, and the steps of a large tree cost little beside it."""
FILE_COST: Final = 8 * 1024
"""What a file costs beside its content, in bytes."""


class ScannedFile(NamedTuple):
    """A file as the scan saw it; settled by the scan where it has an outcome."""

    path: str
    size: int  # bytes
    fingerprint: str | None
    outcome: Outcome | None
    reason: str | None


class FileToIndex(NamedTuple):
    """A file of a shard that has no outcome yet."""

    ordinal: int
    path: str
    size: int  # bytes


class IndexedFile(NamedTuple):
    """What became of a file of a shard. `blob_id` is set just where it is indexed."""

    ordinal: int
    size: int  # bytes
    fingerprint: str | None
    outcome: Outcome
    reason: str | None
    blob_id: int | None


class Manifests:
    """The manifests of a project."""

    def __init__(self, database: Database) -> None:
        """`database` is the project's."""
        self._database = database

    async def open(
        self,
        job_id: str,
        repo_path: str,
        *,
        force_reindex: bool,
        pipeline_version: int,
        embedder_id: int | None = None,
    ) -> Manifest:
        """The manifest of a job, created the first time; it remembers the generation that the job started at.

        It keeps its embedder (`vectors.prepare` gives the id), whatever becomes of the project's.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO repositories (path) VALUES ($1) ON CONFLICT (path) DO NOTHING", repo_path
            )
            await connection.execute(
                """
                INSERT INTO manifests
                    (repository_id, job_id, force_reindex, pipeline_version, embedder_id, base_generation)
                SELECT id, $2, $3, $4, $5, generation FROM repositories WHERE path = $1
                ON CONFLICT (job_id) DO NOTHING
                """,
                repo_path,
                UUID(job_id),
                force_reindex,
                pipeline_version,
                embedder_id,
            )
            row = await connection.fetchrow(
                "SELECT id, current_database() AS database_name FROM manifests WHERE job_id = $1", UUID(job_id)
            )
        assert row is not None  # noqa: S101  (inserted above)
        return Manifest(database_name=row["database_name"], manifest_id=row["id"], repo_path=repo_path, job_id=job_id)

    async def plan(self, manifest_id: int, scanned: AsyncIterable[ScannedFile]) -> None:
        """Store what the scan saw, settle what has not changed, and deal the rest out to shards.

        A manifest that is planned already keeps its plan.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_CREATE_SCANNED)
            with statement(connection, "COPY", "scanned") as copy:  # goes on as long as the tree is being listed
                columns = ["ordinal", *ScannedFile._fields]
                copy.completed(
                    await connection.copy_records_to_table("scanned", records=_numbered(scanned), columns=columns)
                )
            with statement(connection, "SELECT", "manifests", "repositories"):
                state = await connection.fetchval(_LOCK_WITH_BASE, manifest_id)
            _refuse_abandoned(manifest_id, state)
            if state == "open":
                with statement(connection, "INSERT", "files") as plan:  # reads what is published, and settles that
                    plan.completed(await connection.execute(_PLAN, manifest_id, SHARD_BYTES, SHARDS, FILE_COST))
                await connection.execute("UPDATE manifests SET state = 'planned' WHERE id = $1", manifest_id)

    async def is_planned(self, manifest_id: int) -> bool:
        """Whether the scan of the manifest is stored."""
        async with self._database.connection() as connection:
            state = await connection.fetchval("SELECT state FROM manifests WHERE id = $1", manifest_id)
        return bool(state != "open")

    async def progress(self, manifest_id: int) -> tuple[int, int]:
        """Number of files, and how many of them have an outcome."""
        async with self._database.connection() as connection:
            total, done = await connection.fetchrow(
                "SELECT count(*), count(outcome) FROM files WHERE manifest_id = $1", manifest_id
            ) or (0, 0)
        return total, done

    async def has_files(self, manifest_id: int) -> bool:
        """Whether the scan saw any."""
        async with self._database.connection() as connection:  # EXISTS would read the files of older manifests first
            found = await connection.fetchval(
                "SELECT true FROM files WHERE manifest_id = $1 ORDER BY ordinal LIMIT 1", manifest_id
            )
        return bool(found)

    async def shards_left(self, manifest_id: int) -> list[int]:
        """The shards in which a file has no outcome yet."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT shard FROM files WHERE manifest_id = $1 AND outcome IS NULL ORDER BY shard",
                manifest_id,
            )
        return [row["shard"] for row in rows]

    async def files_left(self, manifest_id: int, shard: int) -> list[FileToIndex]:
        """The files of a shard that have no outcome yet."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT ordinal, path, size FROM files
                WHERE manifest_id = $1 AND shard = $2 AND outcome IS NULL ORDER BY ordinal
                """,
                manifest_id,
                shard,
            )
        return [FileToIndex(**row) for row in rows]

    async def outcomes(self, job_id: str, outcome: Outcome | None = None) -> list[FileOutcome]:
        """What became of the files of a job, by path; files without an outcome yet are left out."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT path, size, outcome, reason FROM files JOIN manifests ON manifests.id = files.manifest_id
                WHERE job_id = $1 AND outcome = coalesce($2, outcome) ORDER BY path
                """,
                UUID(job_id),
                outcome,
            )
        return [FileOutcome.model_validate(dict(row)) for row in rows]


async def settle(connection: Connection, manifest_id: int, files: Sequence[IndexedFile]) -> None:
    """Write the outcome of files, in the caller's transaction; a file that has one keeps it."""
    columns = list(zip(*files, strict=True)) or [()] * len(IndexedFile._fields)
    with statement(connection, "UPDATE", "files") as update:
        update.completed(await connection.execute(_SETTLE, manifest_id, *columns))


_SETTLE: Final = """
UPDATE files
SET size = new.size, fingerprint = new.fingerprint, outcome = new.outcome,
    reason = new.reason, blob_id = new.blob_id
FROM unnest($2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[])
    AS new (ordinal, size, fingerprint, outcome, reason, blob_id)
WHERE files.manifest_id = $1 AND files.ordinal = ANY ($2::int[]) AND files.ordinal = new.ordinal
  AND files.outcome IS NULL
"""
_CREATE_SCANNED: Final = """
CREATE TEMPORARY TABLE scanned (
    ordinal integer, path text, size bigint, fingerprint text, outcome text, reason text
) ON COMMIT DROP
"""

# The repository too, so that its published manifest, which the plan takes blobs from, is not replaced and collected.
_LOCK_WITH_BASE: Final = """
SELECT state FROM manifests JOIN repositories ON repositories.id = manifests.repository_id
WHERE manifests.id = $1 FOR UPDATE
"""

# A file keeps the outcome that it has in the published manifest if its fingerprint is the same, the same pipeline
# and the same embedder made it, and nobody forces it. Failed files are always tried again.
_PLAN: Final = """
WITH base AS (
    SELECT files.* FROM manifests AS new
    JOIN repositories ON repositories.id = new.repository_id
    JOIN manifests AS old ON old.id = repositories.manifest_id
    JOIN files ON files.manifest_id = old.id
    WHERE new.id = $1 AND NOT new.force_reindex AND old.pipeline_version = new.pipeline_version
      AND old.embedder_id IS NOT DISTINCT FROM new.embedder_id AND files.outcome <> 'failed'
      AND files.fingerprint IS NOT NULL
), settled AS (
    SELECT scanned.ordinal, scanned.path, scanned.size, scanned.fingerprint, base.blob_id,
           coalesce(scanned.outcome, base.outcome) AS outcome, coalesce(scanned.reason, base.reason) AS reason
    FROM scanned LEFT JOIN base
      ON base.path = scanned.path AND base.fingerprint = scanned.fingerprint AND scanned.outcome IS NULL
)
INSERT INTO files (manifest_id, ordinal, path, size, fingerprint, outcome, reason, blob_id, shard)
SELECT $1, ordinal, path, size, fingerprint, outcome, reason, blob_id,
       CASE WHEN outcome IS NULL THEN
           div(sum(cost) OVER (ORDER BY ordinal) - 1, greatest($2::bigint, ceil(sum(cost) OVER () / $3::int)))
       END
FROM (SELECT *, CASE WHEN outcome IS NULL THEN size + $4::bigint ELSE 0 END AS cost FROM settled) AS costly
"""


def _refuse_abandoned(manifest_id: int, state: str | None) -> None:
    if state in {None, "abandoned"}:  # None: collected, long after its job ended
        raise PermanentError(f"the work of this job was given up (manifest {manifest_id})")


async def _numbered(scanned: AsyncIterable[ScannedFile]) -> AsyncIterator[tuple[object, ...]]:
    ordinal = 0
    async for file in scanned:
        yield (ordinal, *file)
        ordinal += 1
