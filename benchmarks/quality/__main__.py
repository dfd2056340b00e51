"""How good verdex finds, against BM25 and ripgrep: `python -m benchmarks.quality` prints a table for each set.

Sets: docstring → function, identifier → definition, commit message → changed function; what each takes and leaves out
stands in its module. All systems but one search the chunks that verdex stored; BM25 over whole functions needs none.
Of two parameters of BM25, the row is of those with the better MRR.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.quality import commits, docstrings, identifiers, product
from benchmarks.quality.baselines import BM25, WEIGHTS, Document, Grep, System, whole_functions
from benchmarks.quality.metrics import Summary, score, summary
from benchmarks.quality.sets import PARTS, Part, Query, QuerySet, sampled
from benchmarks.report import machine
from benchmarks.small import connected
from tests.chaos.stack import Stack, stack
from verdex.client import Verdex

SETS: Final[Mapping[str, Callable[[Path], QuerySet]]] = {
    docstrings.NAME: docstrings.make,
    identifiers.NAME: identifiers.make,
    commits.NAME: commits.make,
}
VERDEX, OVER_CHUNKS, OVER_FUNCTIONS, GREP = SYSTEMS = ("verdex", "bm25", "bm25-functions", "ripgrep")
SAMPLES: Final = 500


class Asked(NamedTuple):
    """What is asked, and of whom."""

    part: Part
    samples: int
    seed: int
    systems: Collection[str]
    embedder: str | None


async def measure(running: Stack, api: Verdex, of: QuerySet, asked: Asked) -> AsyncIterator[str]:
    """Lines of a table."""
    queries = sampled(of.queries, asked.part, asked.samples, asked.seed)
    await product.create_project(running, of.name, asked.embedder)
    await product.index(running, of.root, of.name)
    chunks = await product.stored_chunks(api, of.name, str(of.root))
    yield f"**{of.name}**, {asked.part}: {len(of.queries):,} queries in both parts; {len(chunks):,} chunks"
    yield ""
    yield "| system | MRR@10 | 95 % | recall@10 | NDCG@10 | queries |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for system in SYSTEMS:
        if system in asked.systems and (system != OVER_FUNCTIONS or of.name == docstrings.NAME):
            variants = _systems(system, api, of, chunks)
            yield _row(*max([(await quality(ask, queries, asked.seed), name) for name, ask in variants]))
    yield ""


def _systems(system: str, api: Verdex, of: QuerySet, chunks: Sequence[Document]) -> Iterator[tuple[str, System]]:
    """What goes by that name; of several, the best counts."""
    if system == VERDEX:
        yield "verdex", product.search(api, of.name)
    elif system == GREP:
        yield "ripgrep", Grep(chunks)
    else:
        documents = list(whole_functions(of.root)) if system == OVER_FUNCTIONS else chunks
        over = "whole functions" if system == OVER_FUNCTIONS else "chunks"
        for weights in WEIGHTS:
            yield f"BM25 over {over} (k1 {weights.k1}, b {weights.b})", BM25(documents, weights)


async def quality(ask: System, queries: Sequence[Query], seed: int) -> Summary:
    """Ask all queries, one after the other."""
    return summary([score(await ask(query.text), query.right) for query in queries], seed)


def _row(found: Summary, system: str) -> str:
    interval = f"{found.low:.3f} to {found.high:.3f}"
    return f"| {system} | {found.mrr:.3f} | {interval} | {found.recall:.3f} | {found.ndcg:.3f} | {found.queries:,} |"


async def _main(names: Sequence[str], asked: Asked) -> None:
    print(machine("benchmarks.quality"), end="\n\n")
    async with stack() as running:
        try:
            async with connected(running) as api:
                for name in names:
                    with _made(name) as made:
                        async for line in measure(running, api, made, asked):
                            print(line, flush=True)
        finally:
            await running.run("down")


@contextmanager
def _made(name: str) -> Iterator[QuerySet]:
    """A set, with a tree that is removed at the end."""
    print(f"making the set {name}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.") as directory:
        yield SETS[name](Path(directory).resolve() / name)


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--set", choices=SETS, action="append", help="this one only (can be repeated)")
    parser.add_argument("--part", choices=PARTS, default="held-out", help="dev to tune, held-out to report")
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="at most so many queries of each set (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="this one only (can be repeated)")
    parser.add_argument("--embedder", metavar="SPEC", help="of the projects, as `verdex project create` takes it")
    given = parser.parse_args()
    asked = Asked(given.part, given.samples, given.seed, given.system or SYSTEMS, given.embedder)
    asyncio.run(_main(given.set or list(SETS), asked))


if __name__ == "__main__":
    main()
