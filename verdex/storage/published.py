"""What a search sees of a repository, read back row by row in one snapshot. Nothing here writes."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from verdex.contracts import Outcome
from verdex.storage.database import Connection, Database
from verdex.storage.migrations import version


class PublishedFile(NamedTuple):
    """A file of the published manifest."""

    path: str
    size: int  # bytes
    outcome: Outcome
    blob_id: int | None
    content_hash: bytes | None  # SHA-256; None just where the file is not indexed


class StoredChunk(NamedTuple):
    """A chunk as it is stored; lines are numbered from 1, and the last one is part of it."""

    start_line: int
    end_line: int
    content: str
    symbol: str | None = None
    lexemes: Mapping[str, int] | None = None
    """With their weights (`verdex.terms`); None where they were not asked for."""


class PublishedIndex:
    """The published manifest of a repository, as it was when the snapshot was taken."""

    def __init__(
        self, connection: Connection, manifest_id: int, generation: int, job_id: str, pipeline_version: int
    ) -> None:
        """Use `published`."""
        self._connection = connection
        self._manifest_id = manifest_id
        self.generation = generation
        self.job_id = job_id
        self.pipeline_version = pipeline_version

    async def files(self) -> AsyncIterator[PublishedFile]:
        """Every file with its outcome, in the byte order of the paths."""
        async for row in self._connection.cursor(_FILES, self._manifest_id, prefetch=FETCHED_FILES):
            yield PublishedFile(**row)

    async def chunks(
        self, blob_ids: Collection[int], *, with_lexemes: bool = False
    ) -> Mapping[int | None, Sequence[StoredChunk]]:
        """The chunks of blobs, in order; nothing for a blob that has none."""
        query = _CHUNKS.format(lexemes="lexemes::text" if with_lexemes else "NULL")
        found: dict[int | None, list[StoredChunk]] = defaultdict(list)
        for blob_id, *chunk, lexemes in await self._connection.fetch(query, list(blob_ids)):
            found[blob_id].append(StoredChunk._make([*chunk, None if lexemes is None else _weights(lexemes)]))
        return found

    async def count_chunks(self) -> int:
        """Number of chunks that a search can find; those of a content that several paths hold count once."""
        return int(await self._connection.fetchval(_COUNT_CHUNKS, self._manifest_id))


def _weights(lexemes: str) -> Mapping[str, int]:
    """A tsvector as PostgreSQL writes it; a place that we never give counts as a weight that there is not."""
    found = _LEXEME.findall(lexemes)
    return {lexeme: _PLACES.index(places) if places in _PLACES else -1 for lexeme, places in found}


_PLACES: Final = (":1", ":1C", ":1B", ":1A")
_LEXEME: Final = re.compile(r"'((?:[^']|'')*)'(\S*)")
FETCHED_FILES: Final = 1000

_FILES: Final = """
SELECT path, size, outcome, blob_id, content_hash FROM files LEFT JOIN blobs ON blobs.id = files.blob_id
WHERE files.manifest_id = $1 ORDER BY path COLLATE "C"
"""
_CHUNKS: Final = """
SELECT blob_id, start_line, end_line, content, symbol, {lexemes} FROM chunks
WHERE blob_id = ANY ($1::bigint[]) ORDER BY blob_id, ordinal
"""
_COUNT_CHUNKS: Final = """
SELECT count(*) FROM chunks WHERE EXISTS (SELECT FROM files WHERE manifest_id = $1 AND blob_id = chunks.blob_id)
"""
_MANIFEST: Final = """
SELECT manifests.id, repositories.generation, manifests.job_id::text, manifests.pipeline_version
FROM repositories JOIN manifests ON manifests.id = repositories.manifest_id
WHERE repositories.path = $1
"""


class Held(NamedTuple):
    """What a database holds of the published index of a repository, as far as can be told without reading it."""

    job_id: str
    generation: int
    files: int  # whatever their outcome
    has_chunks: bool
    claimant_published: bool
    """Whether the job that claims the index ever published one, be it this or an older one."""


# Ids come as text: of uuid[], asyncpg asks the server first what it is, on each connection, and waits 10 ms for that.
_HELD: Final = """
SELECT path, manifests.job_id::text, repositories.generation,
       (SELECT count(*) FROM files WHERE manifest_id = manifests.id) AS files,
       EXISTS (SELECT FROM files JOIN chunks USING (blob_id) WHERE manifest_id = manifests.id) AS has_chunks,
       EXISTS (
           SELECT FROM manifests AS own WHERE own.job_id = claimant AND own.state = 'published') AS claimant_published
FROM unnest($1::text[], $2::text[]::uuid[]) AS claim (path, claimant)
JOIN repositories USING (path) JOIN manifests ON manifests.id = repositories.manifest_id
"""


async def held(database: Database, claimants: Mapping[str, str]) -> dict[str, Held]:
    """What a project's database holds of repositories, by path; nothing where nothing is published.

    `claimants` are the paths, each with the id of the job that claims to have published it.

    Raises:
        DatabaseUnavailable, DatabaseNotFound, DatabaseRefused: see `verdex.errors`.
    """
    async with database.connection() as connection:
        if await version(connection) == 0:
            return {}
        rows = await connection.fetch(_HELD, list(claimants), list(claimants.values()))
    return {path: Held(*rest) for path, *rest in map(tuple, rows)}


@asynccontextmanager
async def published(database: Database, repo_path: str) -> AsyncIterator[PublishedIndex | None]:
    """The published index of a repository, in one snapshot of the database; None where nothing is published.

    Raises:
        DatabaseUnavailable, DatabaseNotFound, DatabaseRefused: see `verdex.errors`.
    """
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        is_migrated = await version(connection) > 0
        row = await connection.fetchrow(_MANIFEST, repo_path) if is_migrated else None
        yield PublishedIndex(connection, *row) if row else None
