"""A database is gone, or PostgreSQL holds the worker to a limit."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import ClassVar

import asyncpg

from tests.chaos import evidence
from tests.chaos.faults.apart import GRANT, REVOKE, ROLE, TERMINATE, FaultApart, execute
from tests.chaos.faults.base import COMPLETED_OR_FAILED, Fault, Scene, alter_alone


class DatabaseDropped(Fault):
    """The database of the project is gone. It is renamed, so that what the job had done can still be seen."""

    name = "database dropped"
    quick = True
    ends = COMPLETED_OR_FAILED
    causes = "database .*does not exist"
    gone = "^the index is gone: .*database .*does not exist"

    async def strike(self, scene: Scene) -> None:
        database = scene.database
        corpse = f"corpse_{database}"
        await alter_alone(scene, database, f'RENAME TO "{corpse}"')
        scene.databases[scene.project] = corpse
        scene.beside.push_async_callback(self._create_again, scene, database)

    @staticmethod
    async def _create_again(scene: Scene, database: str) -> None:
        async with evidence.connected(scene.url) as registry:
            await registry.execute(f'DROP DATABASE "{scene.database}" WITH (FORCE)')
        for action in (("drop", "--yes"), ("create",)):
            done = await scene.stack.run("project", *action, scene.project)
            if done.code:
                raise RuntimeError(f"the project cannot be made again: {done.err}")
        scene.databases[scene.project] = database


class _Limited(FaultApart):
    """The worker is held to a limit for a while."""

    longest: ClassVar[float] = 4.0

    async def strike(self, scene: Scene) -> None:
        async with AsyncExitStack() as limits:
            await self.limit(scene, limits)
            await asyncio.sleep(scene.random.uniform(0.5, self.longest))

    async def limit(self, scene: Scene, limits: AsyncExitStack) -> None:
        """Set the limit; `limits` lifts it."""


class ConnectionsExhausted(_Limited):
    """There is no connection to be had: for the role, for the database of the project, or because all are taken."""

    name = "connections exhausted"
    quick = True
    refuses = True

    async def limit(self, scene: Scene, limits: AsyncExitStack) -> None:
        limited = scene.random.choice([f"ROLE {ROLE}", f'DATABASE "{scene.database}"', None])
        if limited is None:
            await self._take_all(scene, limits)
        else:
            limits.push_async_callback(execute, scene, None, [f"ALTER {limited} CONNECTION LIMIT -1"])
            await execute(scene, None, [f"ALTER {limited} CONNECTION LIMIT 0", TERMINATE])

    @staticmethod
    async def _take_all(scene: Scene, limits: AsyncExitStack) -> None:
        """Also those that the worker had; the last ones are kept for superusers by PostgreSQL itself."""

        async def take() -> None:
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    await limits.enter_async_context(evidence.connected(scene.url, user=ROLE))

        await take()
        others = f"{TERMINATE} AND application_name = 'verdex'"
        await execute(scene, None, [others])
        await take()


class StatementTimeout(_Limited):
    """Every statement that takes longer than a moment is broken off."""

    name = "statement timeout"

    async def limit(self, scene: Scene, limits: AsyncExitStack) -> None:
        moment = scene.random.choice([1, 2, 5, 10])
        limits.push_async_callback(execute, scene, None, [f"ALTER ROLE {ROLE} RESET statement_timeout", TERMINATE])
        await execute(scene, None, [f"ALTER ROLE {ROLE} SET statement_timeout = {moment}", TERMINATE])


class RightsRevoked(_Limited):
    """The worker may not do anything in the database of the project any more."""

    name = "rights revoked"
    quick = True
    ends = COMPLETED_OR_FAILED
    causes = "permission denied for table"

    async def limit(self, scene: Scene, limits: AsyncExitStack) -> None:
        limits.push_async_callback(execute, scene, scene.database, [GRANT])
        await execute(scene, scene.database, [REVOKE])
