"""What a fault is, and what it can reach."""

import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Final

import asyncpg

from tests.chaos import evidence
from tests.chaos.stack import Running, Stack, ended, send
from tests.chaos.trees import Tree

COMPLETED: Final = frozenset({"completed"})
COMPLETED_OR_FAILED: Final = frozenset({"completed", "failed"})


@dataclass
class Scene:
    """What a fault can reach: one job, and the stack that it runs in."""

    stack: Stack
    url: str
    random: Random
    tree: Tree
    project: str
    databases: dict[str, str]
    """The database of each project."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the commands about the job."""
    job_id: str | None = None
    claims: set[str] = field(default_factory=set)
    beside: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What has to be undone after the job was judged."""

    @property
    def database(self) -> str:
        """The database of the project."""
        return self.databases[self.project]


class Fault:
    """Nothing goes wrong, unless a subclass says what."""

    name: ClassVar[str] = "none"
    ends: ClassVar[frozenset[str]] = COMPLETED
    """The ends that are true if the fault came while the job ran."""
    causes: ClassVar[str] = "$."
    """A pattern that the message of a failed job matches; by itself, no message does."""
    gone: ClassVar[str] = ""
    """Where a completed job has lost its index since: what a status must say of it, as a pattern."""
    refuses: ClassVar[bool] = False
    """Whether a start may be refused, because the stack cannot be reached."""
    needs_job: ClassVar[bool] = False
    """Whether it is done to a job whose id is known."""
    early: ClassVar[bool] = False
    """Whether it is there before the job is."""
    late: ClassVar[bool] = False
    """Whether it comes at the moment when the row is terminal, before the workflow is closed."""
    quick: ClassVar[bool] = False
    """Whether it is in the short form of the campaign."""

    async def prepare(self, scene: Scene) -> None:
        """Before the job is asked for."""

    async def strike(self, scene: Scene) -> None:
        """While the job runs; what passes by itself has passed when this returns."""

    @classmethod
    def possible(cls) -> bool:
        """Whether it can be brought about here."""
        return True


@contextmanager
def standing_still(scene: Scene, part: str = "worker") -> Iterator[None]:
    """Stop a part with its children; of the worker, so that a job does not end before a command has begun."""
    family = scene.stack.family(part)
    send(signal.SIGSTOP, family)
    try:
        yield
    finally:
        send(signal.SIGCONT, family)


async def kill(scene: Scene, part: str) -> None:
    """The first process of a part, and as chance will have it its children."""
    family = scene.stack.family(part)
    victims = family if scene.random.random() < 0.5 else family[:1]
    send(signal.SIGKILL, victims)
    await ended(victims)


async def drain(running: Running) -> None:
    """End a worker of our own; it drains at SIGTERM."""
    with suppress(ProcessLookupError):
        running.process.terminate()
    await running.end()


async def has_ended(scene: Scene) -> bool:
    """Whether the row is terminal."""
    async with evidence.connected(scene.url) as registry:
        row = await evidence.row(registry, scene.job_id or "")
    return row is not None and row["status"] in evidence.TERMINAL


async def alter_alone(scene: Scene, database: str, change: str) -> None:
    """`ALTER DATABASE` with a change that needs it unused, for which all who are connected are thrown out."""
    async with evidence.connected(scene.url) as registry:
        while True:
            await registry.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
            )
            with suppress(asyncpg.ObjectInUseError):
                await registry.execute(f'ALTER DATABASE "{database}" {change}')
                return
