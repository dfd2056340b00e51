"""What a search reads of a project's database: published manifests only, in one snapshot, and never a whole table.

A chunk is found by its lexemes (`verdex.terms`). What is asked for first is what few chunks have; the number of those
that are looked at is bounded, however many there are.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from verdex.contracts import Embedder
from verdex.storage.database import Connection, Database
from verdex.storage.migrations import version
from verdex.storage.statements import statement
from verdex.terms import MAX_TEXT

SEARCHABLE_SCHEMA: Final = 2
"""Older versions stored no lexemes."""
COUNTED: Final = 300
"""Chunks that are counted to find out how rare a term is, where PostgreSQL's statistics do not know it as common."""
FOUND: Final = 1_000
"""Chunks that a query may find, and that are ranked."""
COPIES: Final = 20
"""Files that are told of those that hold the same chunk."""
WEIGHTS: Final = (0.27, 0.5, 0.68, 0.85)
"""The impact that stands for each of the weights of `verdex.terms`, from weak to named."""

LOOKED_AT: Final = 200
"""Vectors that the index keeps at hand while it looks for the nearest: with more it finds those more surely."""


class SearchedManifest(NamedTuple):
    """A published manifest."""

    manifest_id: int
    repo_path: str
    job_id: str
    pipeline_version: int
    files_indexed: int
    partial: str | None = None
    """Which files are missing from it, where that are some."""


class Filter(NamedTuple):
    """Which chunks may be found."""

    manifest_ids: Sequence[int]
    path_expression: str | None = None
    """A regular expression over the whole path within the repository."""
    language: str | None = None
    kind: str | None = None


class ChunkKey(NamedTuple):
    """Which chunk."""

    blob_id: int
    ordinal: int


class FoundChunk(NamedTuple):
    """A chunk, and files that hold it, as repository and path: at most `COPIES`, those with the shortest paths."""

    key: ChunkKey
    start_line: int
    end_line: int
    kind: str
    symbol: str | None
    content: str
    """Of a longer line, the first `MAX_TEXT` characters."""
    language: str | None
    files: Sequence[tuple[str, str]]


class Meaning(NamedTuple):
    """What a query means: its vector, by an embedder as the database knows it."""

    embedder_id: int
    vector: Sequence[float]


class Frequencies(NamedTuple):
    """In how many chunks each term stands, about, and how many chunks there are."""

    chunks: float
    of_term: Mapping[str, float]


class SearchedIndex:
    """The published indexes of a project, as they were when the snapshot was taken."""

    def __init__(self, connection: Connection) -> None:
        """Use `searched`."""
        self._connection = connection

    async def manifests(self, repo_path: str | None = None) -> list[SearchedManifest]:
        """What is published: of one repository, or of all, by path."""
        return [SearchedManifest(*row) for row in await self._connection.fetch(_MANIFESTS, repo_path)]

    async def frequencies(self, terms: Sequence[str]) -> Frequencies:
        """How common terms are; exact where they are rare."""
        rows = await self._connection.fetch(_FREQUENCIES, terms, [_quoted(term) for term in terms], COUNTED)
        chunks = max((row["chunks"] for row in rows), default=0.0)
        return Frequencies(max(chunks, *(row["frequency"] for row in rows), 1.0), {row[0]: row[1] for row in rows})

    async def candidates(
        self, query: str, weights: Mapping[str, float], accepted: Filter, limit: int
    ) -> dict[ChunkKey, float]:
        """Of `FOUND` chunks that match `query`, a tsquery, those with the most weight of terms, with that weight."""
        ranks = [_RANK.format(weight=9 + 2 * number, term=10 + 2 * number) for number in range(len(weights))]
        values = [value for term, weight in weights.items() for value in (weight, _quoted(term))]
        rows = await self._connection.fetch(
            _CANDIDATES.replace("RANK", " + ".join(ranks)), query, *accepted, FOUND, WEIGHTS, limit, *values
        )
        return {ChunkKey(*row[:2]): row[2] for row in map(tuple, rows)}

    async def chunks_of_files(self, endings: Sequence[str], accepted: Filter, limit: int) -> list[ChunkKey]:
        """The first chunk of each file whose path ends so, in whole names; case does not matter."""
        rows = await self._connection.fetch(_OF_FILES, endings, *accepted, FOUND, limit)
        return [ChunkKey(*row) for row in map(tuple, rows)]

    async def embedded(self, embedder: Embedder) -> dict[int, int]:
        """Of the published manifests those that have vectors of `embedder`, with the id of that."""
        rows = await self._connection.fetch(_EMBEDDED, embedder.model_dump_json())
        return {row["manifest_id"]: row["embedder_id"] for row in rows}

    async def nearest(self, meaning: Meaning, accepted: Filter, limit: int) -> dict[ChunkKey, float]:
        """The chunks that are nearest to a meaning, with their cosine similarity; about, as an index tells it."""
        await self._connection.execute(_LOOKING_FOR_NEAREST)
        query = _NEAREST.format(dimensions=len(meaning.vector))
        rows = await self._connection.fetch(query, meaning.vector, *accepted, meaning.embedder_id, limit)
        return {ChunkKey(*row[:2]): row[2] for row in map(tuple, rows)}

    async def similarities(self, meaning: Meaning, keys: Sequence[ChunkKey]) -> dict[ChunkKey, float]:
        """How near chunks are to a meaning; nothing for those that have no vector of its embedder."""
        columns = list(zip(*keys, strict=True)) or [(), ()]
        rows = await self._connection.fetch(_SIMILARITIES, meaning.vector, meaning.embedder_id, *columns)
        return {ChunkKey(*row[:2]): row[2] for row in map(tuple, rows)}

    async def chunks(self, keys: Sequence[ChunkKey], accepted: Filter, endings: Sequence[str] = ()) -> list[FoundChunk]:
        """Chunks with all that is shown of them; of the files that hold one, those whose path ends so come first."""
        columns = list(zip(*keys, strict=True)) or [(), ()]
        rows = await self._connection.fetch(_CHUNKS, *columns, *accepted[:3], endings, MAX_TEXT, COPIES)
        return [_chunk(*row) for row in map(tuple, rows)]


def _chunk(blob_id: int, ordinal: int, *shown: Any) -> FoundChunk:  # noqa: ANN401  (the columns of a row)
    *of_chunk, repositories, paths = shown
    files = list(zip(repositories, paths, strict=True))
    return FoundChunk._make((ChunkKey(blob_id, ordinal), *of_chunk, files))


@asynccontextmanager
async def searched(database: Database) -> AsyncIterator[SearchedIndex | None]:
    """The published indexes of a project in one snapshot; None where none can be searched yet.

    Raises:
        DatabaseUnavailable, DatabaseNotFound, DatabaseRefused: see `verdex.errors`.
    """
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        if await version(connection) < SEARCHABLE_SCHEMA:
            yield None
            return
        await connection.execute(_PLANNED)
        yield SearchedIndex(connection)


async def prepare(database: Database) -> None:
    """Make ready for searches what was stored: merge what waits to be, and count anew which lexemes are common.

    That is counted again when a fifth of the chunks has changed since the last time; as PostgreSQL does by itself, but
    not before a minute has passed.
    """
    async with database.connection() as connection:
        with statement(connection, "SELECT", "chunks"):
            await connection.execute(_MERGE)
        if await connection.fetchval(_HAS_GROWN):
            with statement(connection, "ANALYZE", "chunks"):
                await connection.execute("ANALYZE chunks")


# Only who owns an index may do so; for others, VACUUM does it later, and until then a search reads what waits.
_MERGE: Final = """
SELECT gin_clean_pending_list(oid::regclass) FROM pg_class
WHERE oid = 'chunks_by_lexeme'::regclass AND pg_has_role(relowner, 'USAGE')
"""
# How large the table was is known at once, but may be what it was at the last VACUUM. That does not count lexemes, and
# when PostgreSQL does it by itself, the number of changes is known as well.
_HAS_GROWN: Final = """
SELECT pg_relation_size(oid) > 1.2 * relpages * current_setting('block_size')::bigint
    OR pg_stat_get_mod_since_analyze(oid) > 0.2 * reltuples
FROM pg_class WHERE oid = 'chunks'::regclass
"""


def _quoted(lexeme: str) -> str:
    """As a tsquery has it; there is no quote in a lexeme."""
    return f"'{lexeme}'"


# With the values at hand, PostgreSQL knows how common a term is; without them it would guess, and keep to its guess.
_PLANNED: Final = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off"
_MANIFESTS: Final = """
SELECT manifests.id, path, job_id::text, pipeline_version, (result->>'files_indexed')::bigint,
       CASE result->>'status' WHEN 'partial' THEN result->'errors'->>0 END
FROM repositories JOIN manifests ON manifests.id = repositories.manifest_id
WHERE path = coalesce($1, path) ORDER BY path
"""
# Of terms that are neither common nor rare it is only known that they are between the two.
_FREQUENCIES: Final = """
WITH of_table AS (
    SELECT greatest(reltuples, 0)::float8 AS chunks FROM pg_class WHERE oid = 'chunks'::regclass
), of_lexemes AS MATERIALIZED (
    SELECT most_common_elems::text::text[] AS lexemes, most_common_elem_freqs AS frequencies FROM pg_stats
    WHERE schemaname = 'public' AND tablename = 'chunks' AND attname = 'lexemes'
), common AS (
    SELECT lexeme, frequency FROM of_lexemes, unnest(lexemes, frequencies) AS element (lexeme, frequency)
    WHERE lexeme = ANY ($1)
), least AS (
    SELECT frequencies[cardinality(lexemes) + 1] AS frequency FROM of_lexemes
)
SELECT term, coalesce(common.frequency * chunks, (
           SELECT CASE WHEN count(*) < $3 THEN count(*)
                  ELSE sqrt($3 * greatest($3, coalesce((SELECT frequency FROM least), 0) * chunks)) END
           FROM (SELECT FROM chunks WHERE lexemes @@ query::tsquery LIMIT $3) AS counted
       ))::float8 AS frequency, chunks
FROM unnest($1::text[], $2::text[]) AS wanted (term, query) CROSS JOIN of_table
LEFT JOIN common ON lexeme = term
"""
# A subquery for each chunk that was found, and so by the index: a join might read all files of the manifests first.
_ACCEPTED: Final = """
    ($5::text IS NULL OR chunks.kind = $5) AND (
        SELECT true FROM files
        WHERE files.blob_id = chunks.blob_id AND files.manifest_id = ANY ($2::bigint[])
          AND ($3::text IS NULL OR files.path ~ $3)
          AND ($4::text IS NULL OR $4 = (SELECT language FROM blobs WHERE blobs.id = chunks.blob_id))
        LIMIT 1)
"""
_RANK: Final = "${weight}::float8 * ts_rank($7::float4[], lexemes, ${term}::tsquery)"
# Stored lexemes are compressed; with nothing added they are decompressed once, and not anew for each term of the rank.
_CANDIDATES: Final = f"""
SELECT blob_id, ordinal, RANK AS rank
FROM (
    SELECT blob_id, ordinal, lexemes || '' AS lexemes FROM chunks WHERE lexemes @@ $1::tsquery AND {_ACCEPTED} LIMIT $6
) AS found
ORDER BY rank DESC, blob_id, ordinal LIMIT $8
"""  # noqa: S608  (constants only)
_EMBEDDED: Final = """
SELECT manifests.id AS manifest_id, embedder_id
FROM repositories JOIN manifests ON manifests.id = repositories.manifest_id
JOIN embedders ON embedders.id = embedder_id
WHERE embedder = $1::jsonb
"""
_LOOKING_FOR_NEAREST: Final = f"""
SET LOCAL hnsw.ef_search = {LOOKED_AT}; SET LOCAL hnsw.iterative_scan = relaxed_order
"""
# The index has vectors of an embedder only, as so many numbers: both have to be told as it was.
_NEAREST: Final = f"""
SELECT blob_id, ordinal, 1 - (embedding::halfvec({{dimensions}}) <=> $1::real[]::halfvec({{dimensions}})) AS similarity
FROM vectors JOIN chunk_vectors USING (embedder_id, content_hash) JOIN chunks USING (blob_id, ordinal)
WHERE embedder_id = $6 AND {_ACCEPTED}
ORDER BY embedding::halfvec({{dimensions}}) <=> $1::real[]::halfvec({{dimensions}}) LIMIT $7
"""  # noqa: S608  (constants only)
_SIMILARITIES: Final = """
SELECT blob_id, ordinal, 1 - (embedding <=> $1::real[]::halfvec) AS similarity
FROM unnest($3::bigint[], $4::int[]) AS wanted (blob_id, ordinal)
JOIN chunk_vectors USING (blob_id, ordinal) JOIN vectors USING (embedder_id, content_hash)
WHERE embedder_id = $2
"""
# No character comes after chr(1114111).
_ENDS: Final = "right('/' || lower(files.path), length(lower('/' || ending))) = lower('/' || ending)"
_OF_FILES: Final = f"""
SELECT blob_id, ordinal FROM (
    SELECT blob_id, min(length(path)) AS length
    FROM (SELECT ending, left(reverse(lower('/' || ending)), 200) AS key FROM unnest($1::text[]) AS ending) AS named
    CROSS JOIN LATERAL (
        SELECT blob_id, path FROM files
        WHERE manifest_id = ANY ($2::bigint[]) AND blob_id IS NOT NULL
          AND left(reverse(lower('/' || path)), 200) COLLATE "C" BETWEEN key AND key || chr(1114111)
          AND {_ENDS} AND ($3::text IS NULL OR path ~ $3)
          AND ($4::text IS NULL OR $4 = (SELECT language FROM blobs WHERE blobs.id = files.blob_id))
        LIMIT $6
    ) AS found
    GROUP BY blob_id ORDER BY length, blob_id LIMIT $7
) AS file CROSS JOIN LATERAL (
    SELECT ordinal FROM chunks WHERE chunks.blob_id = file.blob_id AND ($5::text IS NULL OR kind = $5)
    ORDER BY ordinal LIMIT 1
) AS first
"""  # noqa: S608  (constants only)
_CHUNKS: Final = f"""
SELECT chunks.blob_id, chunks.ordinal, start_line, end_line, kind, symbol, left(content, $7), nullif(language, ''),
       repositories, paths
FROM unnest($1::bigint[], $2::int[]) AS wanted (blob_id, ordinal)
JOIN chunks USING (blob_id, ordinal) JOIN blobs ON blobs.id = chunks.blob_id CROSS JOIN LATERAL (
    SELECT array_agg(repository ORDER BY repository, path) AS repositories,
           array_agg(path ORDER BY repository, path) AS paths
    FROM (
        SELECT repositories.path AS repository, files.path FROM files
        JOIN repositories ON repositories.manifest_id = files.manifest_id
        WHERE files.blob_id = chunks.blob_id AND files.manifest_id = ANY ($3::bigint[])
          AND ($4::text IS NULL OR files.path ~ $4) AND ($5::text IS NULL OR $5 = language)
        ORDER BY EXISTS (SELECT FROM unnest($6::text[]) AS ending WHERE {_ENDS}) DESC,
                 length(files.path), files.path, repositories.path
        LIMIT $8
    ) AS holding
) AS held
WHERE paths IS NOT NULL
"""  # noqa: S608  (constants only)
