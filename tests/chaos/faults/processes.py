"""Parts of the stack die or stand still."""

import asyncio
import signal
from random import Random
from typing import ClassVar, Final

from tests.chaos.faults.base import Fault, Scene, drain, kill, standing_still
from tests.chaos.stack import ended, polling, send

HEARTBEAT_SECONDS: Final = 5
"""A worker that is silent for longer loses its steps to another one."""


class WorkerKilled(Fault):
    """The worker dies at once, with or without the processes that parse for it."""

    name = "worker SIGKILL"

    async def strike(self, scene: Scene) -> None:
        await kill(scene, "worker")


class WorkerKilledLate(WorkerKilled):
    """The worker dies between the row and the end of the workflow, which then stays open beside the next job."""

    name = "worker SIGKILL late"
    late = True


class PostgresKilled(Fault):
    """PostgreSQL dies at once, or only its first process."""

    name = "postgres SIGKILL"
    refuses = True

    async def strike(self, scene: Scene) -> None:
        await kill(scene, "postgres")


class BackendKilled(Fault):
    """A process of one connection dies, for which PostgreSQL ends all others and recovers by itself."""

    name = "backend SIGKILL"
    refuses = True

    async def strike(self, scene: Scene) -> None:
        children = scene.stack.family("postgres")[1:]
        send(signal.SIGKILL, scene.random.sample(children, min(1, len(children))))


class PostgresStopped(Fault):
    """PostgreSQL is shut down properly, and started again after a while."""

    name = "postgres restart"
    refuses = True

    async def strike(self, scene: Scene) -> None:
        family = scene.stack.family("postgres")
        send(signal.SIGINT, family[:1])  # "fast": connections are broken off
        await ended(family)


class TemporalKilled(Fault):
    """Temporal dies at once."""

    name = "temporal SIGKILL"
    refuses = True

    async def strike(self, scene: Scene) -> None:
        await kill(scene, "temporal")


class _Frozen(Fault):
    """A part of the stack stands still for a while, and then goes on as if nothing had been."""

    part: ClassVar[str]

    async def strike(self, scene: Scene) -> None:
        with standing_still(scene, self.part):
            await asyncio.sleep(self.seconds(scene.random))

    def seconds(self, random: Random) -> float:
        """For how long."""
        return random.uniform(1, 5)


class WorkerFrozen(_Frozen):
    """The worker stands still, sometimes for so long that it counts as lost."""

    name = "worker SIGSTOP"
    part = "worker"

    def seconds(self, random: Random) -> float:
        return random.choice([random.uniform(1, 4), random.uniform(HEARTBEAT_SECONDS + 1, HEARTBEAT_SECONDS + 4)])


class PostgresFrozen(_Frozen):
    """PostgreSQL stands still."""

    name = "postgres SIGSTOP"
    part = "postgres"
    refuses = True


class TemporalFrozen(_Frozen):
    """Temporal stands still."""

    name = "temporal SIGSTOP"
    part = "temporal"
    refuses = True


class SecondWorker(Fault):
    """Two workers share the job; then the first is killed, stands still until it is a zombie, or simply lives."""

    name = "second worker"

    async def prepare(self, scene: Scene) -> None:
        running = await scene.stack.start("worker", err=scene.stack.directory / "second.err")
        scene.beside.push_async_callback(drain, running)
        await polling(running)

    async def strike(self, scene: Scene) -> None:
        match scene.random.choice(["lives", "dies", "freezes"]):
            case "dies":
                await kill(scene, "worker")
            case "freezes":
                await WorkerFrozen().strike(scene)
            case _:
                pass
