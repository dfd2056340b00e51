"""The three ways to index a tree, one at a time on one stack: the floor, the library, and `verdex index`."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.metering import Meter
from benchmarks.trees import Tree, files, tree
from tests.chaos.evidence import connected
from tests.chaos.stack import PROGRAMS, Ended, Stack
from verdex.storage.database import Server
from verdex.storage.projects import Projects, database_name

DEADLINE_SECONDS: Final = 7200.0
WARM_UP: Final = "small-2k"
FLOOR, LIBRARY, PRODUCT = "floor", "library", "product"
"""The cold runs, of which there are ratios."""


class Cost(NamedTuple):
    """What a run took. Seconds and bytes; those of PostgreSQL and Temporal are apart from its own."""

    what: str
    seconds: float
    """As the run itself says: since its processes were there, or of the job."""
    wall: float
    """From the start of the command to its end."""
    cpu: float
    postgres_cpu: float
    temporal_cpu: float
    peak: int
    postgres_peak: int
    database: int
    """Size of the database after it."""
    told: dict[str, Any]
    """What the command printed; of a cold run of the product also its trace."""


class Bench:
    """Runs on one stack, which is up. Each cold run has a database of its own."""

    def __init__(self, stack: Stack, url: str) -> None:
        """`url` is that of the registry."""
        self._stack = stack
        self._url = url

    async def warm(self) -> None:
        """Let the worker start all its processes, which takes several shards, and load what it loads once."""
        async with self._project("warm") as project:
            await self._verdex("index", tree(WARM_UP).root, "--project", project)

    async def floor(self, tree: Tree) -> list[Cost]:
        """The floor."""
        async with self._floor_database() as url:
            program = ("-m", "benchmarks.floor", tree.root, url)
            return [await self._measured(FLOOR, "floor", *program, program=Path(sys.executable))]

    async def library(self, tree: Tree) -> list[Cost]:
        """The library: cold, and once more when nothing has changed."""
        async with self._project("library") as project:
            program = ("-m", "benchmarks.library", tree.root, project)
            return [
                await self._measured(what, database_name(project), *program, program=Path(sys.executable))
                for what in (LIBRARY, "library, nothing changed")
            ]

    async def product(self, tree: Tree) -> list[Cost]:
        """The product: cold, and then as people use it."""
        async with self._project("product") as project:
            costs = [await self._indexed(PRODUCT, tree, project)]
            costs.append(await self._indexed("product, nothing changed", tree, project))
            with one_file_changed(tree.root):
                costs.append(await self._indexed("product, one file changed", tree, project))
            with without_git(tree.root):
                await self._indexed("", tree, project)  # the file that is as before
                costs.append(await self._indexed("product, nothing changed, no git", tree, project))
            costs.append(await self._indexed("product, forced", tree, project, "--force"))
            costs[0].told["trace"] = (await self._verdex("trace", costs[0].told["job_id"], "--json")).json
        return costs

    async def _indexed(self, what: str, tree: Tree, project: str, *options: str) -> Cost:
        arguments = ("index", tree.root, "--project", project, "--json", *options)
        return await self._measured(what, database_name(project), *arguments)

    async def _measured(
        self, what: str, database: str, *arguments: object, program: Path = PROGRAMS / "verdex"
    ) -> Cost:
        roots = {part: [process.pid] for part, process in self._stack.processes().items()}
        workers = roots.pop("worker") if what.startswith(PRODUCT) else []
        await self._checkpoint()
        meter = Meter({**roots, "verdex": workers}, own="verdex")
        with meter.measuring():
            ended = await self._run(*arguments, program=program)
        told = ended.json
        cpu, peak = meter.cpu, meter.peak
        return Cost(
            what,
            told["duration_seconds"] if "duration_seconds" in told else told["seconds"],
            meter.wall,
            cpu["verdex"],
            cpu["postgres"],
            cpu["temporal"],
            peak["verdex"],
            peak["postgres"],
            await self._size(database),
            told,
        )

    async def _verdex(self, *arguments: object) -> Ended:
        return await self._run(*arguments, program=PROGRAMS / "verdex")

    async def _run(self, *arguments: object, program: Path) -> Ended:
        environment = {} if program.name == "verdex" else {"VERDEX_DATABASE_URL": self._url}
        ended = await self._stack.run(*arguments, program=program, seconds=DEADLINE_SECONDS, environment=environment)
        if ended.code:
            raise RuntimeError(f"{program.name} {arguments} ended with {ended.code}: {ended.err}{ended.out}")
        return ended

    async def _checkpoint(self) -> None:
        """What earlier runs left to be written is nobody's cost."""
        async with connected(self._url, "postgres") as connection:
            await connection.execute("CHECKPOINT", timeout=600)

    async def _size(self, database: str) -> int:
        async with connected(self._url, "postgres") as connection:
            return int(await connection.fetchval("SELECT pg_database_size($1)", database))

    @asynccontextmanager
    async def _project(self, name: str) -> AsyncIterator[str]:
        async with Server(self._url) as server:
            await Projects(server).create(name)
            try:
                yield name
            finally:
                await Projects(server).drop(name)

    @asynccontextmanager
    async def _floor_database(self) -> AsyncIterator[str]:
        async with connected(self._url, "postgres") as connection:
            await connection.execute("CREATE DATABASE floor")
        try:
            yield self._url.replace("/verdex?", "/floor?")
        finally:
            async with connected(self._url, "postgres") as connection:
                await connection.execute("DROP DATABASE floor WITH (FORCE)")


@contextmanager
def one_file_changed(root: Path) -> Iterator[None]:
    """The file in the middle of a tree has a line more."""
    found = list(files(root))
    path = found[len(found) // 2]
    content = path.read_bytes()
    path.write_bytes(content + b"\nchanged\n")
    try:
        yield
    finally:
        path.write_bytes(content)


@contextmanager
def without_git(root: Path) -> Iterator[None]:
    """A tree of which git knows nothing."""
    here, away = root / ".git", root.with_name(f"{root.name}.git")
    here.rename(away)
    try:
        yield
    finally:
        away.rename(here)
