"""How soon a job goes on after parts of the stack were killed in the middle of it, and how much work it does again.

A file is opened once to be indexed, so a file that was opened more often was indexed again.
"""

import argparse
import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from benchmarks.opens import counted_opens
from benchmarks.trees import write_modules
from tests.chaos.evidence import connected
from tests.chaos.stack import PARTS, Stack, ended, send

KILLS: Final = (*((part,) for part in sorted(PARTS)), tuple(sorted(PARTS)))
KILLED_AT: Final = 0.3
"""Share of the files that have an outcome when the parts are killed."""
DEADLINE_SECONDS: Final = 900.0
SETTLED: Final = """
    SELECT count(*) FROM files
    WHERE outcome IS NOT NULL AND manifest_id = (SELECT max(id) FROM manifests)
"""


class Measured(NamedTuple):
    """What the kill of some parts cost."""

    parts: Sequence[str]
    down_seconds: float
    """From the kill until `verdex up` had brought the parts back."""
    stall_seconds: float
    """The longest time without a new outcome from then until every file had one."""
    repeated: float
    """Share of the files that were indexed again."""
    status: str

    def __str__(self) -> str:
        """A line of the table."""
        parts = " + ".join(self.parts)
        return f"{parts:30} {self.down_seconds:6.1f} {self.stall_seconds:7.1f} {self.repeated:9.2%}  {self.status}"


async def measure(stack: Stack, tree: Path, parts: Sequence[str], files: int) -> Measured:
    """Index the whole tree anew, and kill the parts in the middle of it."""
    url = (await stack.run("up", "--json")).json["database_url"]
    with counted_opens(tree) as opens:
        index = await stack.start("index", tree, "--force", "--json", err=stack.directory / "index.err")
        async for settled in _settled(url):
            if files * KILLED_AT <= settled < files:
                break
        killed = time.monotonic()
        await _kill(stack, parts)
        await stack.run("up")
        up = time.monotonic()
        stall = await _longest_stall(url, files)
        told = await index.end(DEADLINE_SECONDS)
    again = sum(count - 1 for count in opens.values())
    return Measured(parts, up - killed, stall, again / files, told.json["status"])


async def _kill(stack: Stack, parts: Sequence[str]) -> None:
    victims = [one for part in parts for one in stack.family(part)]
    send(signal.SIGKILL, victims)
    await ended(victims)


async def _longest_stall(url: str, files: int) -> float:
    longest, since, before = 0.0, time.monotonic(), -1
    async for settled in _settled(url):
        now = time.monotonic()
        if settled > before >= 0:
            longest, since = max(longest, now - since), now
        before = settled
        if settled == files:
            break
    return max(longest, 0.0)


async def _settled(url: str) -> AsyncIterator[int]:
    """How many files of the newest job have an outcome, again and again."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with connected(url, "cb_proj_default") as project:
                    while True:
                        yield int(await project.fetchval(SETTLED))
                        await asyncio.sleep(0.02)
            await asyncio.sleep(0.02)


async def _main(directory: Path, files: int) -> None:
    stack = Stack(directory)
    print(f"{'killed':30} {'down s':>6} {'stall s':>7} {'repeated':>9}")
    try:
        for parts in KILLS:
            print(await measure(stack, directory / "tree", parts, files), flush=True)
    finally:
        await stack.run("down")
        await stack.discard()


def main() -> None:
    """Print a line for each kill."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--files", type=int, default=15_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory(prefix="vx-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL may run as another user
        write_modules(directory / "tree", files)
        asyncio.run(_main(directory, files))


if __name__ == "__main__":
    main()
