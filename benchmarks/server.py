"""A PostgreSQL for measurements without a stack: the server of the product, with an empty registry."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.chaos.evidence import connected
from verdex.local.postgres import Postgres
from verdex.settings import Settings
from verdex.storage.database import Server
from verdex.storage.migrations import migrate

_REGISTRY = "verdex"


class Running(NamedTuple):
    """The server, and the settings that lead to its registry."""

    postgres: Postgres
    settings: Settings

    @property
    def pid(self) -> int:
        """Of the first of its processes."""
        return int((self.postgres.data / "postmaster.pid").read_text().split("\n")[0])


@asynccontextmanager
async def server() -> AsyncIterator[Running]:
    """It is stopped and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="vx-") as name:
        os.chmod(name, 0o755)  # noqa: PTH101, S103  (PostgreSQL may run as another user)
        postgres = Postgres(Path(name))
        postgres.start()
        try:
            yield Running(postgres, await _settings(postgres))
        finally:
            postgres.stop()


async def _settings(postgres: Postgres) -> Settings:
    async with connected(postgres.url("postgres"), "postgres") as connection:
        await connection.execute(f"CREATE DATABASE {_REGISTRY}")
    os.environ["VERDEX_DATABASE_URL"] = postgres.url(_REGISTRY)
    settings = Settings.load()
    async with Server(settings.database_dsn) as databases:
        await migrate(databases.registry, "registry")
    return settings
