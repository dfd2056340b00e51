"""Whether verdex became dearer: what it takes to index a small tree that never changes, against `baseline.json`.

CPU time is told in units of what the floor takes for the same tree just before and after, in as many processes and with
the same PostgreSQL: so neither a slower machine nor what else runs on it counts for much. Of a few runs, the median is
taken. What PostgreSQL writes to its write-ahead log hardly varies at all. A machine of another kind, or another
version of a grammar, may need a baseline of its own: `--update`.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.library import Library, ready
from benchmarks.metering import cpu_seconds
from benchmarks.server import Running, server
from benchmarks.trees import SETTLE_SECONDS, commit, write_modules
from tests.chaos.evidence import connected
from verdex.storage.projects import Projects

BASELINE: Final = Path(__file__).with_name("baseline.json")
CPU_TOLERANCE: Final = 0.15
WAL_TOLERANCE: Final = 0.03
MODULES: Final = 900
RUNS: Final = 7
FLOORS: Final = 2
AGAIN: Final = 20
"""Times that the tree is indexed when nothing has changed; one time is too little to be measured."""
_PYTHON: Final = r"def (\w+)\(argument\):\n    value = (.*)\n    return value"
_C: Final = r"int \1(int argument)\n{\n    int value = \2;\n    return value;\n}"
_PROSE: Final = r"# \1\n\nIt gives \2."


class Cost(NamedTuple):
    """CPU seconds and bytes."""

    cpu: float
    postgres_cpu: float
    wal: float


async def calibrate(running: Running, root: Path) -> float:
    """CPU seconds of the floor."""
    before = _of_children()
    for _ in range(FLOORS):
        async with connected(running.postgres.url("postgres"), "postgres") as connection:
            await connection.execute("DROP TABLE IF EXISTS floor")
        program = (sys.executable, "-m", "benchmarks.floor", root, running.postgres.url("postgres"))
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.DEVNULL)
        if await process.wait():
            sys.exit("the floor failed")
    return (_of_children() - before) / FLOORS


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_tree(root: Path) -> None:
    """Python, C and prose; the same each time."""
    write_modules(root, MODULES)
    for path in sorted(root.rglob("*.py"))[::3]:
        text = path.read_text()
        path.with_suffix(".c").write_text(re.sub(_PYTHON, _C, text))
        path.with_suffix(".md").write_text(re.sub(_PYTHON, _PROSE, text))
    commit(root)


async def measure(running: Running, root: Path, project_id: str) -> dict[str, float]:
    """One run into a new project: what the first index takes, and each of those when nothing has changed."""
    async with ready(running.settings) as library:
        await Projects(library.server).create(project_id)
        before = await calibrate(running, root)
        first = await _taken(running, library, root, project_id, times=1)
        again = await _taken(running, library, root, project_id, times=AGAIN)
        unit = (before + await calibrate(running, root)) / 2
    return {
        f"{what}, {name}": value / (1e6 if name == "wal" else unit)
        for what, cost in (("first index", first), ("nothing changed", again))
        for name, value in cost._asdict().items()
    }


async def _taken(running: Running, library: Library, root: Path, project_id: str, *, times: int) -> Cost:
    before = await _so_far(running)
    for _ in range(times):
        await library.index(root, project_id)
    after = await _so_far(running)
    return Cost(*((end - start) / times for start, end in zip(before, after, strict=True)))


async def _so_far(running: Running) -> Cost:
    async with connected(running.postgres.url("postgres"), "postgres") as connection:
        wal = await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'")
    return Cost(cpu_seconds([os.getpid()]), cpu_seconds([running.pid]), float(wal))


async def counts(runs: int) -> dict[str, float]:
    """The median of each count; CPU in units of the floor, and megabytes."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "tree")
        write_tree(root)
        await asyncio.sleep(SETTLE_SECONDS)
        async with server() as running:
            found = [await measure(running, root, f"check_{number}") for number in range(runs)]
    return {name: round(median(one[name] for one in found), 4) for name in found[0]}


def tolerance(name: str) -> float:
    """How much a count may be above the baseline, as a part of it: twice what it varies by on a busy machine."""
    return WAL_TOLERANCE if name.endswith("wal") else CPU_TOLERANCE


def dearer(found: Mapping[str, float], baseline: Mapping[str, float]) -> list[str]:
    """The counts that are above the baseline by more than may be, or not known to it."""
    return [name for name, value in found.items() if value > baseline.get(name, 0.0) * (1 + tolerance(name))]


def report(found: Mapping[str, float], baseline: Mapping[str, float]) -> Iterator[str]:
    """Lines of a table."""
    yield f"{'':34} {'baseline':>9} {'now':>9}"
    for name, value in found.items():
        before = baseline.get(name, 0.0)
        change = f"{value / before - 1:+7.1%}" if before else "    new"
        yield f"{name:34} {before:9.3f} {value:9.3f} {change}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; the exit code is 1 where something became dearer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args(arguments)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    found = asyncio.run(counts(given.runs))
    print(*report(found, baseline), sep="\n")
    if given.update:
        BASELINE.write_text(json.dumps(found, indent=2) + "\n")
        return 0
    for name in dearer(found, baseline):
        print(f"dearer than the baseline by more than {tolerance(name):.0%}: {name}", file=sys.stderr)
    return int(bool(dearer(found, baseline)))


if __name__ == "__main__":
    sys.exit(main())
