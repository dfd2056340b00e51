"""What lies between a worker and its servers is slow, breaks, or swallows everything. Only the worker suffers."""

import asyncio
from typing import ClassVar, Literal

from tests.chaos.faults.apart import FaultApart
from tests.chaos.faults.base import Scene
from tests.chaos.proxy import Proxy


class _Network(FaultApart):
    """Between the worker and one server."""

    server: ClassVar[Literal["postgres", "temporal"]] = "postgres"

    async def strike(self, scene: Scene) -> None:
        await self.disturb(scene, getattr(self.servers, self.server))

    async def disturb(self, scene: Scene, proxy: Proxy) -> None:
        """Bring it about, until it has passed."""


class PostgresDelayed(_Network):
    """Every chunk comes late."""

    name = "postgres delays"

    async def disturb(self, scene: Scene, proxy: Proxy) -> None:
        longest, seconds = scene.random.choice([0.05, 0.2, 0.4]), scene.random.uniform(1, 5)
        await proxy.delay(scene.random, longest, seconds)


class PostgresCut(_Network):
    """Connections are reset, often more than once."""

    name = "postgres cuts"
    quick = True

    async def disturb(self, scene: Scene, proxy: Proxy) -> None:
        for _ in range(scene.random.randint(1, 5)):
            proxy.cut()
            await asyncio.sleep(scene.random.uniform(0, 0.6))


class PostgresSwallowed(_Network):
    """Nothing comes through, as if packets were dropped; afterwards the connections go on, or are found dead."""

    name = "postgres blackhole"

    async def disturb(self, scene: Scene, proxy: Proxy) -> None:
        await proxy.swallow(scene.random.uniform(1, 8))
        if scene.random.random() < 0.5:
            proxy.cut()


class TemporalDelayed(PostgresDelayed):
    """As to PostgreSQL."""

    name = "temporal delays"
    server = "temporal"


class TemporalCut(PostgresCut):
    """As to PostgreSQL."""

    name = "temporal cuts"
    server = "temporal"
    quick = False


class TemporalSwallowed(PostgresSwallowed):
    """As to PostgreSQL."""

    name = "temporal blackhole"
    server = "temporal"
