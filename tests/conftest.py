"""A real PostgreSQL server and a real Temporal server for the whole run; databases and a task queue for each test."""

import asyncio
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.testing import WorkflowEnvironment

from verdex import temporal
from verdex.client import Verdex
from verdex.indexing.pool import ChunkPool
from verdex.local.postgres import Postgres
from verdex.local.temporal_server import program
from verdex.settings import Settings
from verdex.storage.database import Server
from verdex.storage.migrations import migrate
from verdex.telemetry import Tracing, set_up_tracing
from verdex.temporal import search_attributes
from worker import working

DEADLINE = 120.0
"""Seconds after which what is waited for never comes true, however busy the machine is."""


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_the_developer() -> Iterator[None]:
    """Tests see the defaults, whatever the shell has set."""
    kept = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("VERDEX_", "TEMPORAL_", "OTEL_"))
    }
    yield
    os.environ.update(kept)


@pytest.fixture(autouse=True, scope="session")
def _no_line_is_logged_by_the_garbage_collector() -> None:
    """As in a worker. Its traceback, formatted in the middle of the parser of Python, makes that raise SystemError."""
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_reaches_the_commands() -> None:
    """A shell that runs the tests in the background ignores it, and all processes below would do as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """A directory with a path that is short enough for sockets, and that other users can enter."""
    directory = Path(tempfile.mkdtemp(prefix="verdex-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres(short_directory: Path) -> Iterator[Postgres]:
    """The server that tests share; a test that stops one starts its own."""
    server = Postgres(short_directory)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tracing(short_directory: Path) -> Iterator[Tracing]:
    """The spans of all jobs, kept in `short_directory`; written out before that goes."""
    tracing = set_up_tracing("tests", short_directory / "traces")
    yield tracing
    tracing.shutdown()


@pytest.fixture(scope="session")
async def temporal_environment(tracing: Tracing) -> AsyncIterator[WorkflowEnvironment]:
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program(),
        data_converter=temporal.DATA_CONVERTER,
        plugins=[OpenTelemetryPlugin()],
        dev_server_log_level="error",
    )
    async with environment:
        await search_attributes.register(environment.client)
        yield environment


@pytest.fixture
def client(temporal_environment: WorkflowEnvironment) -> Client:
    return temporal_environment.client


@pytest.fixture(scope="session")
def pool() -> Iterator[ChunkPool]:
    pool = ChunkPool(2)
    yield pool
    pool.close()


@pytest.fixture
async def registry_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty database for the registry. The databases of projects that a test leaves are dropped after it."""
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres.url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield postgres.url(name)
    left = await admin.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'cb\\_proj\\_%' OR datname = $1", name)
    for row in left:
        await admin.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
def settings(registry_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        database_url=registry_url,
        task_queue=f"test-{uuid4().hex[:12]}",
    )


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    """A server whose registry is migrated."""
    async with Server(settings.database_dsn) as server:
        await migrate(server.registry, "registry")
        yield server


@pytest.fixture
async def verdex(client: Client, server: Server, settings: Settings) -> AsyncIterator[Verdex]:
    """The Python API over the servers of the tests; no worker runs."""
    verdex = Verdex(client, server, settings)
    yield verdex
    if verdex._embedders is not None:  # the rest is the server's, which others use
        await verdex._embedders.close()


@pytest.fixture
async def worker(client: Client, server: Server, pool: ChunkPool, settings: Settings) -> AsyncIterator[None]:
    """A worker with all the real activities."""
    async with working(client, server, pool, settings):
        yield


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three small files."""
    root = tmp_path / "repository"
    (root / "package").mkdir(parents=True)
    (root / "README.md").write_text("# Title\n\nSome words.\n")
    (root / "package" / "one.py").write_text("def one():\n    return 1\n")
    (root / "package" / "two.py").write_text("class Two:\n    def two(self):\n        return 2\n")
    return root


Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def eventually() -> Eventually:
    """Wait until a condition holds; fail after a deadline."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not await condition():
                await asyncio.sleep(0.02)

    return wait
