"""What goes wrong while a job runs: how it is brought about, how it is healed, and which ends are true after it.

Not here yet: a TCP proxy between the worker and its servers, and a full disk. Each is one more class in `FAULTS`.
"""

import asyncio
import os
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

DUPLICATES: Final = 5
HEARTBEAT_SECONDS: Final = 5
"""A worker that is silent for longer loses its steps to another one."""
REASON: Final = "by the fault campaign"
COMPLETED: Final = frozenset({"completed"})


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
    job_id: str | None = None
    claims: set[str] = field(default_factory=set)
    beside: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What has to be undone after the job was judged."""


class Fault:
    """Nothing goes wrong, unless a subclass says what."""

    name: ClassVar[str] = "none"
    ends: ClassVar[frozenset[str]] = COMPLETED
    """The ends that are true if the fault came while the job ran."""
    causes: ClassVar[str] = "$."
    """A pattern that the message of a failed job matches; by itself, no message does."""
    refuses: ClassVar[bool] = False
    """Whether a start may be refused, because the stack cannot be reached."""
    needs_job: ClassVar[bool] = False
    """Whether it is done to a job whose id is known."""
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


class WorkerKilled(Fault):
    """The worker dies at once, with or without the processes that parse for it."""

    name = "worker SIGKILL"

    async def strike(self, scene: Scene) -> None:
        await _kill(scene, "worker")


class WorkerKilledLate(WorkerKilled):
    """The worker dies between the row and the end of the workflow, which then stays open beside the next job."""

    name = "worker SIGKILL late"
    late = True


class PostgresKilled(Fault):
    """PostgreSQL dies at once, or only its first process."""

    name = "postgres SIGKILL"
    refuses = True

    async def strike(self, scene: Scene) -> None:
        await _kill(scene, "postgres")


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
        await _kill(scene, "temporal")


class _Frozen(Fault):
    """A part of the stack stands still for a while, and then goes on as if nothing had been."""

    part: ClassVar[str]

    async def strike(self, scene: Scene) -> None:
        with _standing_still(scene, self.part):
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


class Cancelled(Fault):
    """Somebody cancels the job."""

    name = "cancel"
    quick = True
    needs_job = True
    ends = frozenset({"completed", "cancelled"})

    async def strike(self, scene: Scene) -> None:
        with _standing_still(scene):
            asking = await scene.stack.start("cancel", scene.job_id, err=scene.stack.directory / "cancel.err")
            await asyncio.sleep(scene.random.uniform(0, 3))
        await asking.end()


class Terminated(Fault):
    """Somebody terminates the workflow behind the back of verdex."""

    name = "terminate"
    quick = True
    needs_job = True
    ends = frozenset({"completed", "failed"})
    causes = f"terminated.*{REASON}"

    async def strike(self, scene: Scene) -> None:
        with _standing_still(scene):
            named = ("--workflow-id", await _workflow_id(scene), "--run-id", scene.job_id)
            await scene.stack.temporal("workflow", "terminate", *named, "--reason", REASON)


class Duplicates(Fault):
    """Others start the same job at once, while it stands still: all must be told of the one that runs."""

    name = "duplicate starts"
    needs_job = True

    async def strike(self, scene: Scene) -> None:
        with _standing_still(scene):
            if not await _has_ended(scene):
                await self._start(scene)

    async def _start(self, scene: Scene) -> None:
        arguments = ("index", scene.tree.root, "--project", scene.project, "--no-wait", "--json")
        told = await asyncio.gather(*(scene.stack.run(*arguments) for _ in range(DUPLICATES)))
        scene.claims.update(str(one.json.get("job_id", one.err)) for one in told)


class SecondWorker(Fault):
    """Two workers share the job; then the first is killed, stands still until it is a zombie, or simply lives."""

    name = "second worker"

    async def prepare(self, scene: Scene) -> None:
        running = await scene.stack.start("worker", err=scene.stack.directory / "second.err")
        scene.beside.push_async_callback(_end, running)
        async with asyncio.timeout(30):
            while "worker is polling" not in running.complaints():
                await asyncio.sleep(0.05)

    async def strike(self, scene: Scene) -> None:
        match scene.random.choice(["lives", "dies", "freezes"]):
            case "dies":
                await _kill(scene, "worker")
            case "freezes":
                await WorkerFrozen().strike(scene)
            case _:
                pass


class DatabaseDropped(Fault):
    """The database of the project is gone. It is renamed, so that what the job had done can still be seen."""

    name = "database dropped"
    quick = True
    ends = frozenset({"completed", "failed"})
    causes = "database .*does not exist"

    async def strike(self, scene: Scene) -> None:
        database = scene.databases[scene.project]
        corpse = f"corpse_{database}"
        async with evidence.connected(scene.url) as registry:
            while not await _renamed(registry, database, corpse):
                await asyncio.sleep(0.01)
        scene.databases[scene.project] = corpse
        scene.beside.push_async_callback(self._create_again, scene, database)

    @staticmethod
    async def _create_again(scene: Scene, database: str) -> None:
        async with evidence.connected(scene.url) as registry:
            await registry.execute(f'DROP DATABASE "{scene.databases[scene.project]}" WITH (FORCE)')
        for action in (("drop", "--yes"), ("create",)):
            done = await scene.stack.run("project", *action, scene.project)
            if done.code:
                raise RuntimeError(f"the project cannot be made again: {done.err}")
        scene.databases[scene.project] = database


class RepositoryDeleted(Fault):
    """The tree is gone, from one moment to the next."""

    name = "repository deleted"
    quick = True
    ends = frozenset({"completed", "failed"})
    causes = "does not exist"

    async def strike(self, scene: Scene) -> None:
        hidden = scene.tree.root.with_name("hidden")
        scene.tree.hide(hidden)
        scene.beside.callback(scene.tree.put_back, hidden)


class Unreadable(Fault):
    """A file or a directory cannot be read: an outcome of that file, and no more."""

    name = "unreadable"
    quick = True

    @classmethod
    def possible(cls) -> bool:
        """Root can read everything."""
        return os.geteuid() != 0

    async def prepare(self, scene: Scene) -> None:
        path = scene.random.choice(scene.tree.candidates())
        place = scene.tree.root / path
        scene.beside.callback(place.chmod, place.stat().st_mode & 0o777)
        scene.beside.callback(setattr, scene.tree, "unreadable", None)
        place.chmod(0)
        scene.tree.unreadable = path


FAULTS: Final[dict[str, type[Fault]]] = {
    fault.name: fault
    for fault in (
        Fault, WorkerKilled, WorkerKilledLate, WorkerFrozen, PostgresKilled, BackendKilled, PostgresStopped,
        PostgresFrozen, TemporalKilled, TemporalFrozen, Cancelled, Terminated, Duplicates, SecondWorker,
        DatabaseDropped, RepositoryDeleted, Unreadable,
    )
}  # fmt: skip


@contextmanager
def _standing_still(scene: Scene, part: str = "worker") -> Iterator[None]:
    """Stop a part with its children; of the worker, so that a job does not end before a command has begun."""
    family = scene.stack.family(part)
    send(signal.SIGSTOP, family)
    try:
        yield
    finally:
        send(signal.SIGCONT, family)


async def _kill(scene: Scene, part: str) -> None:
    """The first process of a part, and as chance will have it its children."""
    family = scene.stack.family(part)
    victims = family if scene.random.random() < 0.5 else family[:1]
    send(signal.SIGKILL, victims)
    await ended(victims)


async def _end(running: Running) -> None:
    """A worker drains at SIGTERM."""
    with suppress(ProcessLookupError):
        running.process.terminate()
    await running.end()


async def _workflow_id(scene: Scene) -> str:
    """By Temporal's own list, which comes a moment after the start; there may be no row yet."""
    async with asyncio.timeout(30):
        while True:
            told = await scene.stack.temporal("workflow", "list", "--query", f"RunId = '{scene.job_id}'")
            if told.json:
                return str(told.json[0]["execution"]["workflowId"])


async def _has_ended(scene: Scene) -> bool:
    async with evidence.connected(scene.url) as registry:
        row = await evidence.row(registry, scene.job_id or "")
    return row is not None and row["status"] in evidence.TERMINAL


async def _renamed(registry: evidence.Connection, database: str, name: str) -> bool:
    """Whether nobody was connected any more, for which all are thrown out first."""
    try:
        await registry.execute(
            f"""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}';
            ALTER DATABASE "{database}" RENAME TO "{name}"
            """
        )
    except asyncpg.ObjectInUseError:
        return False
    return True
