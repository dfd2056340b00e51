"""The worker process: settings → resources → Worker.run(); SIGTERM and Ctrl-C drain it."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.common import MetricMeter
from temporalio.runtime import Runtime
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.identity import JobIds
from activities.indexing import IndexingActivities
from activities.interceptor import HEARTBEAT_SECONDS, ActivityEnvironment
from activities.metrics import BUCKETS, WorkMetrics
from activities.observer import Observer, observing
from activities.reconcile import ReconcileActivities
from activities.registry import RegistryActivities
from activities.retention import RetentionActivities
from verdex import temporal
from verdex.contracts import COLLECT_GARBAGE, RECONCILE_JOBS
from verdex.embedding import Embedders
from verdex.ending import leave
from verdex.errors import TransientError, VerdexError
from verdex.indexing.pool import ChunkPool
from verdex.ownership import check_ownership
from verdex.reconcile import Reconciler
from verdex.settings import Settings
from verdex.storage.database import Server
from verdex.storage.migrations import migrate
from verdex.storage.registry import Registry
from verdex.telemetry import keep_secrets_of, redact, set_up_logging, set_up_tracing
from verdex.temporal.jobs import TemporalJobs
from workflows.collect_garbage import CollectGarbage
from workflows.index_repository import IndexRepository
from workflows.policies import INDEX_SHARED_SHARD
from workflows.reconcile_jobs import ReconcileJobs

DRAIN: Final = timedelta(seconds=5)
"""Time for activities to end by themselves at a shutdown; what breaks off then is taken up by the next worker."""
STICKY: Final = timedelta(seconds=1)
"""After this, the workflows of a worker that was killed go on at another."""
RETRY_SECONDS: Final = 2.0
SHARDS_FOR_EACH_PROCESS: Final = 2
"""That parses: what it does with one of them, reading and storing the other must not hold up."""

_logger = logging.getLogger("worker")


class Recurring(NamedTuple):
    """A workflow that a schedule of Temporal's runs while any worker lives, one run at a time."""

    workflow: str
    every: timedelta
    timeout: timedelta
    at_start: bool
    """Of each worker, too. Where not, one run that was missed while all was down is made up for."""


RECONCILIATION: Final = Recurring(RECONCILE_JOBS, timedelta(seconds=20), timedelta(minutes=5), at_start=True)
COLLECTION: Final = Recurring(COLLECT_GARBAGE, timedelta(hours=1), timedelta(hours=1), at_start=False)


@asynccontextmanager
async def working(client: Client, server: Server, pool: ChunkPool, settings: Settings) -> AsyncIterator[None]:
    """Work during the block."""
    async with Embedders(settings.embedder_api_key) as embedders:
        workers = build_workers(client, server, pool, embedders, settings)
        async with workers.steps, workers.shards:
            try:
                yield
            finally:  # both at once: each waits for what it has under way
                await asyncio.gather(*(worker.shutdown() for worker in workers))


class Workers(NamedTuple):
    """What a process polls with."""

    steps: Worker
    """All workflows and activities of the task queue of the settings."""
    shards: Worker
    """Shards that are shared, and no more of them than this process has room for: other workers take the rest."""


def build_workers(client: Client, server: Server, pool: ChunkPool, embedders: Embedders, settings: Settings) -> Workers:
    """Nothing is polled yet."""
    indexing = IndexingActivities(server, pool, embedders, settings, WorkMetrics(temporal.meter(client)))
    registry = Registry(server.registry)
    polling = partial(
        Worker,
        client,
        interceptors=[ActivityEnvironment()],
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
        graceful_shutdown_timeout=DRAIN,
    )
    steps = polling(
        task_queue=settings.task_queue,
        workflows=[IndexRepository, ReconcileJobs, CollectGarbage],
        activities=[
            RegistryActivities(registry).update_registry,
            indexing.preflight,
            indexing.scan,
            indexing.index_shard,
            indexing.publish,
            indexing.abandon,
            ReconcileActivities(Reconciler(TemporalJobs(client), server), registry).reconcile,
            RetentionActivities(server, settings).collect_garbage,
        ],
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules("verdex", "activities")
        ),
        sticky_queue_schedule_to_start_timeout=STICKY,
    )
    shards = polling(
        task_queue=INDEX_SHARED_SHARD.queue(settings.task_queue),
        activities=[indexing.index_shard],
        max_concurrent_activities=SHARDS_FOR_EACH_PROCESS * settings.processes,
    )
    return Workers(steps, shards)


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; while a part of the stack is away at the start, wait for it."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pool = ChunkPool(settings.processes)
    async with Server(settings.database_dsn) as server:
        try:
            address = settings.metrics_address
            runtime = temporal.serving_runtime(address, BUCKETS) if address else None
            client = await _ready(server, stop, runtime)
            if client is not None:
                await _work(client, server, pool, settings, stop)
        finally:
            pool.close()


async def _ready(server: Server, stop: asyncio.Event, runtime: Runtime | None) -> Client | None:
    """Both services answer and the registry is migrated; None if the worker was stopped before."""
    while not stop.is_set():
        try:
            await migrate(server.registry, "registry")
            client = await temporal.connect(runtime=runtime)
            await check_ownership(TemporalJobs(client), server.registry)
        except TransientError as error:
            _logger.warning("waiting for the stack", extra={"error": str(error)})
            await _pause(stop, RETRY_SECONDS)
        else:
            return client
    return None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _work(client: Client, server: Server, pool: ChunkPool, settings: Settings, stop: asyncio.Event) -> None:
    async with _measured(client, server, settings), working(client, server, pool, settings):
        for recurring in (RECONCILIATION, COLLECTION):
            await _schedule(client, settings, recurring)
        _logger.info("worker is polling", extra={"task_queue": settings.task_queue})
        await stop.wait()
        _logger.info("worker is draining")


def _measured(client: Client, server: Server, settings: Settings) -> AbstractAsyncContextManager[None]:
    """From before the worker polls, so that every job that it ends is counted."""
    meter = temporal.meter(client)
    if meter is MetricMeter.noop:
        return nullcontext()
    return observing(Observer(meter, server.registry, TemporalJobs(client), settings.task_queue))


async def _schedule(client: Client, settings: Settings, recurring: Recurring) -> None:
    schedule_id = f"{recurring.workflow}:{settings.task_queue}"
    action = ScheduleActionStartWorkflow(
        recurring.workflow,
        id=schedule_id,
        task_queue=settings.task_queue,
        execution_timeout=recurring.timeout,
    )
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=recurring.every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=recurring.every),
    )
    try:
        await client.create_schedule(schedule_id, schedule, trigger_immediately=recurring.at_start)
    except ScheduleAlreadyRunningError:
        handle = client.get_schedule_handle(schedule_id)
        # An older version may have made it in another way; whether it is paused is for people to say.
        await handle.update(lambda found: ScheduleUpdate(replace(schedule, state=found.description.schedule.state)))
        if recurring.at_start:
            await handle.trigger()


def main() -> int:
    """Run the worker; the exit code of the process."""
    try:
        keep_secrets_of(os.environ)
        settings = Settings.load()
        set_up_logging(json=not sys.stderr.isatty(), level=settings.log_level, identify=JobIds())
        set_up_tracing("verdex-worker", settings.traces_directory)
        asyncio.run(run(settings))
    except VerdexError as error:
        sys.stderr.write(f"verdex worker: {redact(str(error))}\n")
        return 2
    return 0


if __name__ == "__main__":
    leave(main())
