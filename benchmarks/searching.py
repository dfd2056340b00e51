"""How long searches take: `python -m benchmarks.searching` prints tables for about 100,000 and 1,000,000 chunks.

Each search is one call of the Python API. Warm: one connection that is kept, all queries again and again, after a round
that does not count. Cold: before each query PostgreSQL is started anew and the system forgets what it has read, where
it lets us; then the registry and Temporal are asked for a job, so that what is measured is the search, with what it
takes to connect to the database of the project. To drop what the system has read slows down whatever else runs.

Of the database, the search's part is what was not there before verdex could search: the lexemes of the chunks, and
tables and indexes with other names than those of `BEFORE`.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any, Final, NamedTuple

from benchmarks import corpus
from benchmarks.corpus import Typed
from benchmarks.quality import product
from benchmarks.report import machine
from benchmarks.small import connected
from benchmarks.trees import MAKERS, Tree, cache, files, tree
from tests.chaos.stack import Stack, stack
from verdex.client import Verdex
from verdex.errors import QueryInvalid
from verdex.local.postgres import Postgres

CHUNKS: Final = (100_000, 1_000_000)
ROUNDS: Final = 5
DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
BEFORE: Final = [
    *("blobs", "blobs_by_manifest", "blobs_content_hash_language_pipeline_version_revision_key", "blobs_pkey"),
    *("chunks", "chunks_pkey"),
    *("files", "files_by_blob", "files_left", "files_pkey"),
    *("manifests", "manifests_by_repository", "manifests_job_id_key", "manifests_pkey"),
    *("manifests_repository_id_generation_key", "repositories", "repositories_path_key", "repositories_pkey"),
    *("schema_migrations", "schema_migrations_pkey"),
]
_SIZES: Final = """
SELECT pg_database_size(current_database()) AS database,
       coalesce(sum(size) FILTER (WHERE name <> ALL ($1)), 0)
       + (SELECT coalesce(sum(pg_column_size(lexemes)), 0) FROM chunks) AS search
FROM (
    SELECT relname AS name, CASE relkind WHEN 'i' THEN pg_relation_size(oid) ELSE pg_table_size(oid) END AS size
    FROM pg_class WHERE relkind IN ('r', 'm', 'i') AND relnamespace = 'public'::regnamespace
) AS relations
"""


class Asked(NamedTuple):
    """What is measured, and how often."""

    rounds: int
    cold: int
    """So many queries, drawn from all."""
    seed: int
    embedder: str | None


class Took(NamedTuple):
    """One search."""

    kind: str
    seconds: float
    has_results: bool


async def search(api: Verdex, project: str, query: Typed) -> Took:
    """Search once. What is refused took its time, too."""
    count, began = 0, time.perf_counter()
    with suppress(QueryInvalid):
        count = len((await api.search(query.text, project_id=project, limit=10)).results)
    return Took(query.kind, time.perf_counter() - began, count > 0)


async def warm(api: Verdex, project: str, queries: Sequence[Typed], asked: Asked) -> list[Took]:
    """All queries, each round in another order."""
    random, took = Random(asked.seed), list[Took]()  # noqa: S311
    for _ in range(asked.rounds + 1):
        shuffled = random.sample(queries, len(queries))
        took += [await search(api, project, query) for query in shuffled]
    return took[len(queries) :]


async def cold(running: Stack, project: str, queries: Sequence[Typed], asked: Asked) -> list[Took]:
    """Some queries, each after a start of PostgreSQL."""
    drawn = Random(asked.seed).sample(queries, min(asked.cold, len(queries)))  # noqa: S311
    took = []
    for query in drawn:
        await asyncio.to_thread(_restart, Postgres(running.home))
        async with await Verdex.connect() as api:
            await api.jobs(limit=1)
            took.append(await search(api, project, query))
    return took


def _restart(postgres: Postgres) -> None:
    postgres.stop()
    drop_caches()
    postgres.start()


def drop_caches() -> bool:
    """Make the system forget what it has read from disks; whether it does."""
    os.sync()
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True


async def measure(running: Stack, api: Verdex, root: Path, project: str, asked: Asked) -> AsyncIterator[str]:
    """Lines of tables."""
    await product.create_project(running, project, asked.embedder)
    job = await product.index(running, root, project)
    source = sum(path.stat().st_size for path in files(root)) / 1e6
    queries = corpus.queries(root, asked.seed)
    yield f"**{job['chunks_total']:,} chunks** of {job['files_indexed']:,} files, {source:,.1f} MB"
    yield ""
    yield "| searches | p50 ms | p95 ms | most ms | searches | that found something |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    took = await warm(api, project, queries, asked)
    yield _row("warm", took)
    for kind in dict.fromkeys(query.kind for query in queries):
        yield _row(f"warm, {kind}", [one for one in took if one.kind == kind])
    sizes = await _sizes(api, project)
    if asked.cold:
        what = "cold" if drop_caches() else "cold (PostgreSQL only: the system does not forget what it has read)"
        yield _row(what, await cold(running, project, queries, asked))
    yield ""
    for line in _of_the_database(job, source, *sizes):
        yield line


def _row(what: str, took: Sequence[Took]) -> str:
    times = [one.seconds * 1000 for one in took]
    p95 = quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]
    found = sum(one.has_results for one in took)
    return f"| {what} | {median(times):.1f} | {p95:.1f} | {max(times):.1f} | {len(took):,} | {found:,} |"


async def _sizes(api: Verdex, project: str) -> tuple[float, float]:
    """MB of the database, and of the search's part of it."""
    async with (await api.projects.database(project)).connection() as connection:
        row = await connection.fetchrow(_SIZES, BEFORE)
    assert row is not None
    return row["database"] / 1e6, float(row["search"]) / 1e6


def _of_the_database(job: dict[str, Any], source: float, database: float, search: float) -> Iterator[str]:
    yield "| database MB | for each MB of source | of it search MB | for each MB of source | job s |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    sizes = " | ".join(f"{size:,.1f} | {size / source:.3f}" for size in (database, search))
    yield f"| {sizes} | {job['duration_seconds']:.1f} |"
    yield ""


@contextmanager
def _part(of: Tree, chunks: int) -> Iterator[Path]:
    """So much of a tree, made for the time being."""
    print(f"making a tree of about {chunks:,} chunks", file=sys.stderr, flush=True)
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part.", dir=cache()) as directory:
        yield corpus.part(of, chunks, Path(directory).resolve() / of.name)


async def _main(of: Tree, sizes: Sequence[int], asked: Asked) -> None:
    print(machine("benchmarks.searching"), end="\n\n")
    async with stack() as running:
        try:
            async with connected(running) as api:
                for number, chunks in enumerate(sizes):
                    with _part(of, chunks) as root:
                        async for line in measure(running, api, root, f"searching_{number}", asked):
                            print(line, flush=True)
        finally:
            await running.run("down")


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.searching", description=__doc__)
    parser.add_argument("--chunks", type=int, action="append", help=f"about so many (can be repeated; {CHUNKS})")
    parser.add_argument("--tree", default="linux", help=f"to take them of: {', '.join(MAKERS)}, or a directory")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of all queries, warm (%(default)s)")
    parser.add_argument("--cold", type=int, default=72, help="so many queries cold; 0 for none (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which queries")
    parser.add_argument("--embedder", metavar="SPEC", help="of the projects, as `verdex project create` takes it")
    given = parser.parse_args()
    asked = Asked(given.rounds, given.cold, given.seed, given.embedder)
    asyncio.run(_main(tree(given.tree), given.chunks or CHUNKS, asked))


if __name__ == "__main__":
    main()
