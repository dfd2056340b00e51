"""Measures the registry and the queue, in every worker that serves metrics.

Not in an activity: the schedule runs those at one worker or another, and what the others told before would stay as it
was. And a job counts by the event that the database wrote of its end, whoever ended it: a workflow, the reconciler, or
the status read of a command.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from temporalio.common import MetricMeter

from activities.metrics import EndMetrics, StateMetrics, is_empty
from verdex.errors import VerdexError
from verdex.reconcile import LAST_REVISION
from verdex.storage.database import Database
from verdex.storage.observation import Ended, Observation
from verdex.storage.registry import Registry
from verdex.temporal.jobs import TemporalJobs

INTERVAL_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
"""Also how long a worker can be held up by it when it starts."""
OVERLAP: Final = 2_000
"""Events that are read again: a transaction that began earlier may commit later, so their ids do not come in order."""

_logger = logging.getLogger(__name__)


class Observer:
    """Reads what there is to measure, and sets the metrics."""

    def __init__(self, meter: MetricMeter, registry: Database, jobs: TemporalJobs, task_queue: str) -> None:
        """Nothing is read before `read`."""
        self._ends = EndMetrics(meter)
        self._state = StateMetrics(meter)
        self._observation = Observation(registry)
        self._registry = Registry(registry)
        self._temporal = jobs
        self._task_queue = task_queue
        self._counted: set[int] | None = None
        self._troubles: dict[str, str] = {}

    async def read(self) -> None:
        """Measure once; never raises. What ended before the first time is not counted."""
        await self._read_apart("registry", self._read_registry)
        await self._read_apart("queue", self._read_queue)

    async def _read_apart(self, source: str, read: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await read()
        except TimeoutError:
            self._complain(source, f"no answer for {READ_SECONDS:g} s", None)
        except Exception as error:  # noqa: BLE001  (whatever it is, jobs go on)
            self._complain(source, str(error), None if isinstance(error, VerdexError) else error)
        else:
            self._troubles.pop(source, None)
            self._state.observed(source, time.time())

    def _complain(self, source: str, message: str, bug: Exception | None) -> None:
        """Once, until it is another trouble."""
        if self._troubles.get(source) != message:
            _logger.warning("nothing can be measured", exc_info=bug, extra={"source": source, "error": message})
        self._troubles[source] = message

    async def _read_registry(self) -> None:
        await self._count_ends()
        self._state.rows(await self._observation.unfinished())
        self._state.projects(await self._observation.projects())

    async def _count_ends(self) -> None:
        if self._counted is None:
            self._counted = await self._begin()
            return
        newest = max(self._counted, default=0)
        found = await self._observation.ended(newest - OVERLAP)
        new = [job for job in found if job.event_id not in self._counted]
        phases = await self._observation.phases(job.job_id for job in new) if new else []
        for job in new:
            self._count(job)
        for phase in phases:
            self._ends.phase(phase)
        self._counted = {newest, *(job.event_id for job in found)}

    async def _begin(self) -> set[int]:
        newest = await self._observation.last_event()
        found = await self._observation.ended(newest - OVERLAP)
        for status, error_type in await self._observation.kinds():
            self._ends.known(status, error_type)
        return {newest, *(job.event_id for job in found)}

    def _count(self, job: Ended) -> None:
        if is_empty(job):
            _logger.warning("job is completed and holds no files", extra={"job_id": job.job_id})
        self._ends.ended(job, reconciled=job.revision == LAST_REVISION)

    async def _read_queue(self) -> None:
        """A job that no worker has taken up has no row yet. Temporal first: what it lists may have one by then."""
        started = await self._temporal.open_ids(self._task_queue)
        waiting = await self._registry.unrecorded(started)
        rows = await self._observation.unfinished()
        ages = [(datetime.now(UTC) - started[job_id]).total_seconds() for job_id in waiting]
        self._state.queue(len(waiting) + rows.pending, max(rows.pending_age, *ages, 0.0))


@asynccontextmanager
async def observing(observer: Observer) -> AsyncIterator[None]:
    """Measure from before the block until its end, beside it."""
    await observer.read()
    reading = asyncio.create_task(_read_on(observer))
    try:
        yield
    finally:
        reading.cancel()


async def _read_on(observer: Observer) -> None:
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        await observer.read()
