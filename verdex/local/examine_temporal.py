"""What `doctor` asks the Temporal service; nothing that anybody uses is changed."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import uuid4

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import (
    GetSystemInfoRequest,
    PollWorkflowTaskQueueRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from verdex import temporal
from verdex.local.findings import Finding, bad, clock, some, well, worrying
from verdex.temporal import search_attributes

_POLL: Final = timedelta(seconds=10)
_PROBES: Final = 20


class _Pollers(NamedTuple):
    workflows: Sequence[PollerInfo]
    activities: Sequence[PollerInfo]


async def examine_temporal(environment: Mapping[str, str], task_queue: str) -> list[Finding]:
    """Look at the service, and at the workers that poll the task queue.

    Raises:
        VerdexError, RPCError: it does not answer, or refuses to.
    """
    client = await temporal.connect(for_worker=False, environment=environment)
    with temporal.translated():
        system = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=temporal.RPC_TIMEOUT)
        pollers = _Pollers(
            await temporal.pollers(client, task_queue),
            await temporal.pollers(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
        )
        ahead = await _temporal_ahead(client)
        lacking = await _lacking(client)
    return [
        well("Temporal", f"{system.server_version}, namespace {client.namespace}"),
        _polled(pollers, task_queue, ahead or timedelta()),
        *([] if ahead is None else [clock("Temporal", ahead)]),
        *([_unsearchable(client.namespace, lacking)] if lacking else []),
    ]


async def _lacking(client: Client) -> list[str]:
    """The search attributes that the namespace lacks, where the service tells."""
    try:
        return await search_attributes.missing(client)
    except RPCError:
        return []


def _unsearchable(namespace: str, lacking: Sequence[str]) -> Finding:
    told = f"the namespace {namespace} lacks {', '.join(lacking)}, so jobs cannot be found by them in the Web UI"
    return worrying("search attributes", told, "verdex up registers them, or elsewhere: temporal/setup-namespace.sh")


def _polled(pollers: _Pollers, task_queue: str, ahead: timedelta) -> Finding:
    oldest = datetime.now(UTC) + ahead - temporal.POLLER_IS_GONE_AFTER
    workers = [sorted({one.identity for one in found if _at(one) >= oldest}) for found in pollers]
    if not workers[0]:
        return bad("workers", f'no worker polls "{task_queue}"', "start a worker: verdex worker")
    lately = f"in the last {temporal.POLLER_IS_GONE_AFTER.total_seconds():.0f} s"
    told = f'{len(workers[0])} polled "{task_queue}" {lately}: {some(workers[0])}'
    if not workers[1]:
        return worrying("workers", f"{told}; but none takes activities", "is it draining? look into its log")
    return well("workers", told)


def _at(poller: PollerInfo) -> datetime:
    return poller.last_access_time.ToDatetime(UTC)


async def _temporal_ahead(client: Client) -> timedelta | None:
    """How far the clock of the service is ahead of ours; None where it does not show.

    No call tells the time. But the service notes when it was last polled: so a task queue is polled that nobody uses.
    """
    queue, began = f"verdex-doctor-{uuid4().hex}", datetime.now(UTC)
    request = PollWorkflowTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), identity="verdex doctor"
    )
    polling = asyncio.ensure_future(client.workflow_service.poll_workflow_task_queue(request, timeout=_POLL))
    try:
        for _ in range(_PROBES):
            if found := await temporal.pollers(client, queue):
                return _at(found[0]) - began
            await asyncio.sleep(0.05)
        return None
    finally:
        polling.cancel()
        with suppress(asyncio.CancelledError, RPCError):
            await polling
