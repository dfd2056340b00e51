"""Indexing measured against what the machine can do: `python -m benchmarks [TREE...]` prints a table in Markdown.

The floor, the library in one process, and the whole product take turns on the same tree and the same PostgreSQL.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks import spans
from benchmarks.product import PRODUCT, Bench, Cost
from benchmarks.profiling import profile
from benchmarks.report import machine, table
from benchmarks.trees import MAKERS, Tree, files, tree
from tests.chaos.stack import stack


async def measure(tree: Tree, repeat: int) -> list[Cost]:
    """All runs, in the order in which they were made."""
    costs = list[Cost]()
    async with stack() as running:
        try:
            bench = Bench(running, (await running.run("up", "--json")).json["database_url"])
            await bench.warm()
            for _ in range(repeat):
                for way in (bench.floor, bench.library, bench.product):
                    for cost in await way(tree):
                        costs.append(cost)
                        print(f"{tree.name}: {cost.what} {cost.wall:.2f} s", file=sys.stderr, flush=True)
        finally:
            await running.run("down")
    return costs


def _read(tree: Tree) -> None:
    """So that the first run finds the files in memory, as all others do."""
    for path in files(tree.root):
        path.read_bytes()


def _main(names: Sequence[str], repeat: int, *, profiled: bool) -> None:
    print(machine(), end="\n\n")
    for one in map(tree, names):
        _read(one)
        costs = asyncio.run(measure(one, repeat))
        print(table(one, costs), end="\n\n", flush=True)
        if profiled:
            print(*spans.report(next(cost.told["trace"] for cost in costs if cost.what == PRODUCT)), sep="\n")
            profile(one)


def main() -> None:
    """Print a table for each tree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("trees", nargs="*", metavar="TREE", help=f"{', '.join(MAKERS)}, or a directory")
    parser.add_argument("--repeat", type=int, default=1, help="medians of so many runs")
    parser.add_argument("--profile", action="store_true", help="say also where the time goes")
    given = parser.parse_args()
    _main(given.trees or ["stdlib", "linux-10k"], given.repeat, profiled=given.profile)


if __name__ == "__main__":
    main()
