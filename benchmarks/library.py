"""The indexing library in one process, without Temporal: what the steps of a job call, in the order of the workflow.

Against a server with an up-to-date registry; the project must exist. The processes that parse have been started
before, as in a worker that has worked already.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from verdex.contracts import IndexResult, Scan, Shard
from verdex.indexing.pool import ChunkPool, Source
from verdex.indexing.preflight import check_root
from verdex.indexing.scan import scan_repository
from verdex.indexing.shard import index_shard
from verdex.settings import Settings
from verdex.storage.database import Database, Server
from verdex.storage.migrations import migrate
from verdex.storage.projects import Projects
from verdex.storage.publish import publish
from verdex.storage.searching import prepare
from worker import SHARDS_FOR_EACH_PROCESS

_PARSED: Final = Source("def begin():\n    return 1\n", "python")
Result = TypeVar("Result")


class Library:
    """Indexes a repository as a worker with these settings does, and remembers how long each step took."""

    def __init__(self, server: Server, pool: ChunkPool, settings: Settings) -> None:
        """Nothing is done before `index`."""
        self.server = server
        self._pool = pool
        self._settings = settings
        self.seconds: dict[str, float] = {}

    async def index(self, root: Path, project_id: str, *, force: bool = False) -> IndexResult:
        """Do all steps of one job."""
        began = time.perf_counter()
        database = await self._timed("preflight", self._preflight(root, project_id))
        scan = await self._timed("scan", self._scan(database, root, force=force))
        await self._timed("index", self._index_shards(database, scan))
        ratio = self._settings.max_failed_ratio
        await self._timed("prepare", prepare(database))
        publishing = publish(database, scan.manifest.manifest_id, max_failed_ratio=ratio)
        result = await self._timed("publish", publishing)
        self.seconds["all"] = time.perf_counter() - began
        return result

    async def _timed(self, step: str, work: Coroutine[Any, Any, Result]) -> Result:
        began = time.perf_counter()
        result = await work
        self.seconds[step] = time.perf_counter() - began
        return result

    async def _preflight(self, root: Path, project_id: str) -> Database:
        check_root(root, self._settings.allowed_roots)
        database = await Projects(self.server).database(project_id)
        await migrate(database, "project")
        return database

    async def _scan(self, database: Database, root: Path, *, force: bool) -> Scan:
        limit = self._settings.max_file_bytes
        return await scan_repository(database, str(uuid4()), str(root), force_reindex=force, max_file_bytes=limit)

    async def _index_shards(self, database: Database, scan: Scan) -> None:
        window = asyncio.Semaphore(SHARDS_FOR_EACH_PROCESS * self._settings.processes)

        async def index(number: int) -> None:
            shard, limit = Shard(manifest=scan.manifest, shard=number), self._settings.max_file_bytes
            async with window:
                await index_shard(database, self._pool, shard, max_file_bytes=limit, on_batch=_nobody_is_told)

        async with asyncio.TaskGroup() as tasks:
            for number in scan.shards:
                tasks.create_task(index(number))


async def _nobody_is_told(_: int) -> None:
    pass


@asynccontextmanager
async def ready(settings: Settings) -> AsyncIterator[Library]:
    """All that a worker of these settings has, its processes among it."""
    pool = ChunkPool(settings.processes)
    try:
        async with Server(settings.database_dsn) as server:
            await asyncio.gather(*(pool.chunk([_PARSED]) for _ in range(4 * settings.processes)))
            yield Library(server, pool, settings)
    finally:
        pool.close()


async def _main(root: Path, project_id: str) -> None:
    async with ready(Settings.load()) as library:
        result = await library.index(root, project_id)
    print(json.dumps({"files": result.files_total, "seconds": library.seconds["all"], "steps": library.seconds}))


def main() -> None:
    """Print what was done as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("project")
    given = parser.parse_args()
    asyncio.run(_main(given.root, given.project))


if __name__ == "__main__":
    main()
