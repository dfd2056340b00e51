"""Record the histories that `test_replay.py` replays, on servers of its own. Run by hand, from the project's root:

    python tests/workflows/record_histories.py

A replay that fails means: a job that runs while this version is deployed would stop. Such a change goes under
`workflow.patched`, and the new way is recorded beside the old: nothing is overwritten here. A history may be deleted
once no job of a version that issues its commands can be running. Beside each stands its fingerprint, for people.
"""

import asyncio
import base64
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

import worker as worker_module
from activities.indexing import IndexingActivities
from tests.workflows.commands import of_history
from tests.workflows.conftest import fail_file
from verdex import temporal
from verdex.client import Verdex
from verdex.contracts import IndexResult, JobIdentity, Manifest, Scan, Shard
from verdex.errors import DatabaseUnavailable
from verdex.indexing.pool import ChunkPool
from verdex.local.postgres import Postgres
from verdex.local.temporal_server import program
from verdex.settings import Settings
from verdex.storage import manifests
from verdex.storage.database import Server
from verdex.storage.manifests import SHARD_BYTES
from verdex.storage.migrations import migrate
from verdex.telemetry import set_up_tracing
from verdex.temporal import search_attributes

HISTORIES = Path(__file__).with_name("histories")


class Partial(IndexingActivities):
    """One file cannot be read."""

    @activity.defn
    async def publish(self, manifest: Manifest) -> IndexResult:
        await fail_file(self._server, manifest, "a.py", "cannot be read: Permission denied")
        return await super().publish(manifest)


class FailedResult(IndexingActivities):
    """The last step only returns that it failed."""

    @activity.defn
    async def publish(self, manifest: Manifest) -> IndexResult:
        return IndexResult(status="failed", errors=["Database error: gone"])


class Blocked(IndexingActivities):
    """PostgreSQL is away for two attempts."""

    left = 2

    @activity.defn
    async def scan(self, job: JobIdentity) -> Scan:
        if self.left:
            self.left -= 1
            raise DatabaseUnavailable("PostgreSQL is not available: starting up")
        return await super().scan(job)


class HeldUp(IndexingActivities):
    """PostgreSQL is away until a shard was tried four times."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._attempts = Counter[int]()

    @activity.defn
    async def index_shard(self, shard: Shard) -> None:
        self._attempts[shard.shard] += 1
        if max(self._attempts.values()) <= 4:
            raise DatabaseUnavailable("PostgreSQL is not available: starting up")
        await super().index_shard(shard)


class Endless(IndexingActivities):
    """Indexing goes on until it is cancelled."""

    @activity.defn
    async def index_shard(self, shard: Shard) -> None:
        await asyncio.Event().wait()


class WithdrawnPublish(IndexingActivities):
    """Publishing fails, and must be withdrawn."""

    @activity.defn
    async def publish(self, manifest: Manifest) -> IndexResult:
        raise PermissionError("no")


CASES: dict[str, type[IndexingActivities]] = {
    "success": IndexingActivities,
    "partial": Partial,
    "failed_preflight": IndexingActivities,
    "failed_result": FailedResult,
    "failed_publish": WithdrawnPublish,
    "blocked_then_completed": Blocked,
    "cancelled": Endless,
    "held_up_shards": HeldUp,
}
SHARDS = {"held_up_shards": 6}
"""Of cases with more than one."""


class Recorder:
    """Runs one job a case."""

    def __init__(self, client: Client, server: Server, directory: Path) -> None:
        """The repositories are made in `directory`."""
        self._client, self._server, self._directory = client, server, directory

    async def record(self, name: str, pool: ChunkPool) -> None:
        """Run the case and write its history."""
        settings = Settings(home=self._directory, task_queue="verdex")
        setattr(worker_module, "IndexingActivities", CASES[name])  # noqa: B010
        setattr(manifests, "SHARD_BYTES", 1 if name in SHARDS else SHARD_BYTES)  # noqa: B010
        verdex = Verdex(self._client, self._server, settings)
        async with worker_module.working(self._client, self._server, pool, settings):
            started = await verdex.index(self._repository(name))
            async for job in verdex.follow(started.job_id):
                if name == "cancelled" and job.phase == "index":
                    await verdex.cancel(started.job_id)
            handle = self._client.get_workflow_handle(started.workflow_id, run_id=started.job_id)
            with suppress(WorkflowFailureError):
                await handle.result()
            history = (await handle.fetch_history()).to_json_dict()
        path = _free(name)
        path.write_text(json.dumps(_neutral(history, str(self._directory)), indent=1) + "\n")
        path.with_suffix(".txt").write_text("".join(f"{command}\n" for command in of_history(history)))

    def _repository(self, name: str) -> Path:
        root = self._directory / "code" / name
        if name != "failed_preflight":
            root.mkdir(parents=True)
            for file in (f"{letter}.py" for letter in "abcdef"[: SHARDS.get(name, 3)]):
                (root / file).write_text(f"name = {file!r}\n")
        return root


def _free(name: str) -> Path:
    """The first path for a history of this name that is not taken: `name.json`, `name-2.json`, …"""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(path for one in names if not (path := HISTORIES / f"{one}.json").exists())


def _neutral(value: Any, directory: str) -> Any:
    """Leave out what names the machine: paths, hosts, processes and tracebacks."""
    match value:
        case dict():
            return {key: _neutral_field(key, item, directory) for key, item in value.items()}
        case list():
            return [_neutral(item, directory) for item in value]
        case str():
            return _neutral_text(value, directory)
        case _:
            return value


def _neutral_field(key: str, value: Any, directory: str) -> Any:
    if key in {"stackTrace", "sdkName", "sdkVersion", "binaryChecksum", "buildId"}:
        return ""
    if key == "data" and isinstance(value, str):
        text = base64.b64decode(value).decode()
        return base64.b64encode(_neutral_text(text, directory).encode()).decode()
    return _neutral(value, directory)


def _neutral_text(text: str, directory: str) -> str:
    return re.sub(r"\d+@[\w.-]+", "1@worker", text.replace(directory, "/srv"))


@asynccontextmanager
async def recorder(directory: Path) -> AsyncIterator[Recorder]:
    """A recorder over servers of its own."""
    set_up_tracing("histories", directory / "traces")
    await asyncio.to_thread(directory.chmod, 0o755)
    postgres = Postgres(directory)
    await asyncio.to_thread(postgres.start)
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program(), dev_server_log_level="error"
    )
    address = environment.client.service_client.config.target_host
    client = await temporal.connect(environment={"TEMPORAL_ADDRESS": address})
    await search_attributes.register(client)
    try:
        async with environment, Server(postgres.url("postgres")) as server:
            await migrate(server.registry, "registry")
            yield Recorder(client, server, directory)
    finally:
        await asyncio.to_thread(postgres.stop)


async def main(names: list[str]) -> None:
    """Record the cases of these names, or all."""
    HISTORIES.mkdir(exist_ok=True)
    pool = ChunkPool(1)
    with tempfile.TemporaryDirectory(prefix="verdex-", ignore_cleanup_errors=True) as name:
        async with recorder(Path(name)) as cases:
            for case in names or CASES:
                await cases.record(case, pool)
    pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
