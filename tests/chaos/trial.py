"""One job: asked for, struck by a fault at some instant, healed, and watched to its end."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import asyncpg

from tests.chaos import evidence
from tests.chaos.evidence import TERMINAL, Case, Row
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.stack import PARTS, Ended, Running

STUCK_SECONDS: Final = 90.0
"""A job that has not ended so long after all parts are back is stuck."""
START_SECONDS: Final = 5.0
"""A job whose start was refused, and that has no row after this time, was never started."""
FORCED: Final = 0.6
"""How many jobs do everything anew, which takes them longer."""
PHASES: Final = ("preflight", "scan", "index", "publish")
LATEST: Final = {"start": 1.3, "job": 0.3, "preflight": 0.1, "scan": 0.1, "index": 0.1, "publish": 0.01}
"""Seconds after each of them, within which a job of this campaign has mostly not ended yet."""
POLL_SECONDS: Final = 0.01
AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What asyncpg raises while PostgreSQL is away."""

T = TypeVar("T")

_JOB_ID: Final = re.compile(r"\bjob ([0-9a-f]{8}-[0-9a-f-]{27})\b")


class Told(NamedTuple):
    """What a job has told, and what had been done to it."""

    case: Case
    instant: str
    struck: bool
    """Whether the fault came while the job ran."""
    recovery: float
    """Seconds from when all was well again to the end of the job; 0 if it was not meant to be, before that."""


class Trial:
    """One job, with one fault."""

    def __init__(self, scene: Scene, fault: Fault) -> None:
        """Nothing is started before `told`."""
        self._scene = scene
        self._fault = fault
        self._instant = _Instant.drawn(scene, fault)
        self._options = ["--force"] if scene.random.random() < FORCED else []
        self._struck = False
        self._healed = 0.0

    async def told(self) -> Told:
        """Ask for the job, let the fault strike, heal it, and gather the evidence.

        A start that the fault made impossible is asked for again, without a fault.
        """
        before, known, running = await self._ask()
        self._struck = await self._instant.came(self._scene, running) and self._fault.late is await self._has_ended()
        if self._struck:
            await self._fault.strike(self._scene)
        await self._bring_up()
        ended = await running.end(STUCK_SECONDS)
        if not await self._is_known(ended, known) and self._struck and self._fault.refuses:
            before, known, running = await self._ask()
            ended = await running.end(STUCK_SECONDS)
            await self._is_known(ended, known)
        row = await self._end()
        case = await self._case(before, known, ended, row)
        return Told(case, str(self._instant), self._struck, self._recovery(row))

    async def _ask(self) -> tuple[evidence.Indexes, frozenset[str], Running]:
        scene = self._scene
        before = await evidence.indexes(scene.url, scene.databases)
        known = await self._jobs()
        wanted = ("index", scene.tree.root, "--project", scene.project, "--json", *self._options)
        err = scene.stack.directory / "waiting.err"
        return before, known, await scene.stack.start(*wanted, err=err, environment=scene.environment)

    async def _bring_up(self) -> None:
        """Like a person who sees that something is down."""
        if self._scene.stack.processes().keys() < PARTS and not self._fault.late:  # the next job is to come at once
            up = await self._scene.stack.run("up")
            if up.code != 0:
                raise RuntimeError(f"the stack does not come up: {up.err}")
        self._healed = time.time()
        await _until(self._jobs, lambda _: True, STUCK_SECONDS)

    async def _is_known(self, ended: Ended, known: frozenset[str]) -> bool:
        """Whether there is a job: the command said which, or it has a row."""
        scene = self._scene
        scene.job_id = _job_id(ended.err)
        if scene.job_id is None:
            jobs = await _until(self._jobs, lambda jobs: jobs - known, START_SECONDS) or known
            scene.job_id = min(jobs - known, default=None)
        return scene.job_id is not None

    async def _has_ended(self) -> bool:
        row = await self._row(self._scene.job_id) if self._scene.job_id else None
        return _is_terminal(row)

    async def _end(self) -> Row | None:
        job_id = self._scene.job_id
        if job_id is None:
            return None
        return await _until(lambda: self._row(job_id), _is_terminal, STUCK_SECONDS)

    def _recovery(self, row: Row | None) -> float:
        ended = row["completed_at"] if row else None
        is_healed = self._struck and not self._fault.early
        return max(0.0, ended.timestamp() - self._healed) if ended and is_healed else 0.0

    async def _row(self, job_id: str) -> Row | None:
        async with evidence.connected(self._scene.url) as registry:
            return await evidence.row(registry, job_id)

    async def _jobs(self) -> frozenset[str]:
        async with evidence.connected(self._scene.url) as registry:
            return await evidence.job_ids(registry)

    async def _case(self, before: evidence.Indexes, known: frozenset[str], ended: Ended, row: Row | None) -> Case:
        scene, fault = self._scene, self._fault if self._struck else Fault()
        job_id, patience = scene.job_id or "that was asked for", 0.0 if fault.late else evidence.CLOSE_SECONDS
        status = await scene.stack.run("status", job_id, "--json", environment=scene.environment)
        async with evidence.connected(scene.url) as registry:
            events = await evidence.events(registry, job_id) if row else []
        return Case(
            place=(scene.project, str(scene.tree.root)),
            job_id=job_id,
            row=row,
            events=events,
            temporal=await evidence.temporal_status(scene.stack, row["workflow_id"], job_id, patience) if row else "",
            exit_code=ended.code if _job_id(ended.err) else None,
            told=ended.json,
            status_exit_code=status.code,
            status_told=status.json,
            new_jobs=await self._jobs() - known,
            claims=frozenset(scene.claims),
            before=before,
            after=await evidence.indexes(scene.url, scene.databases),
            expected=scene.tree.expected(),
            worlds=scene.tree.worlds(),
            ends=fault.ends,
            causes=fault.causes,
            gone=fault.gone,
            complaint=ended.err,
        )


class _Instant(NamedTuple):
    """When a fault strikes: a while after something is first seen."""

    seen: str
    """`start` (of the command), `job` (its id is told), a phase in its row, or `end`."""
    delay: float

    def __str__(self) -> str:
        return f"{self.delay:.2f} s after {self.seen}"

    @classmethod
    def drawn(cls, scene: Scene, fault: Fault) -> "_Instant":
        if fault.late or fault.early:
            return cls("end" if fault.late else "start", 0)
        seen = scene.random.choice(["job", "job", "job", *PHASES] + ([] if fault.needs_job else ["start", "start"]))
        return cls(seen, scene.random.uniform(0, LATEST[seen]))

    async def came(self, scene: Scene, running: Running) -> bool:
        """Wait for it; false if the command ended before."""
        async with evidence.connected(scene.url) as registry:
            while self.seen != "start" and not await self._is_seen(scene, registry):
                if running.process.returncode is not None:
                    return False
                scene.job_id = _job_id(running.complaints())
                await asyncio.sleep(POLL_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(running.process.wait(), self.delay)
        return running.process.returncode is None

    async def _is_seen(self, scene: Scene, registry: evidence.Connection) -> bool:
        if scene.job_id is None or self.seen == "job":
            return scene.job_id is not None
        row = await evidence.row(registry, scene.job_id)
        if self.seen == "end":
            return _is_terminal(row)
        return row is not None and row["phase"] in PHASES[PHASES.index(self.seen) :]


async def _until(get: Callable[[], Awaitable[T]], enough: Callable[[T], object], seconds: float) -> T | None:
    """What `get` gives once it is enough, or in the end; None if PostgreSQL was away all the time."""
    deadline, found = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        with suppress(*AWAY):
            found = await get()
            if enough(found):
                break
        await asyncio.sleep(POLL_SECONDS)
    return found


def _is_terminal(row: Row | None) -> bool:
    return row is not None and row["status"] in TERMINAL


def _job_id(complaints: str) -> str | None:
    """The job that a command says it started or follows."""
    found = _JOB_ID.search(complaints)
    return found[1] if found else None
