"""The history of a job stays far below what Temporal allows, whatever the size of its tree and however it is held up.

Temporal warns at 10,240 events or 10 MB, and ends a workflow at 51,200 or 50 MB.
"""

from collections import Counter
from datetime import timedelta
from itertools import count

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities.errors import MESSAGE_LIMIT
from activities.indexing import IndexingActivities
from verdex.contracts import BLOCKED_LIMIT_SECONDS, Job, Shard
from verdex.errors import DatabaseUnavailable
from verdex.settings import LONGEST_BLOCKED_LIMIT_SECONDS
from verdex.storage.manifests import SHARDS
from workflows.policies import CONCURRENT_SHARDS, INDEX_SHARD, TRIED_APART

WARNED_AT_EVENTS, WARNED_AT_BYTES = 10_240, 10 * 1024 * 1024
EVENTS_OF_AN_ATTEMPT = 12
"""Three of the attempt, three of telling it, two of waiting; and after each of them a workflow task, which is three."""


async def events(client: Client, job: Job) -> list[HistoryEvent]:
    history = await client.get_workflow_handle(job.workflow_id, run_id=job.job_id).fetch_history()
    return list(history.events)


def size(events: list[HistoryEvent]) -> int:
    return sum(event.ByteSize() for event in events)


def scheduled(events: list[HistoryEvent], step: str) -> list[HistoryEvent]:
    kind = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    return [
        event
        for event in events
        if event.event_type == kind and event.activity_task_scheduled_event_attributes.activity_type.name == step
    ]


async def test_the_history_of_a_job_with_as_many_shards_as_can_be_is_short(
    verdex, client, worker, many_shards, finished
):
    job = await finished((await verdex.index(many_shards(3 * SHARDS))).job_id)
    assert (job.status, job.files_indexed) == ("completed", 3 * SHARDS)
    found = await events(client, job)
    assert len(scheduled(found, "index_shard")) == SHARDS
    assert len(found) < WARNED_AT_EVENTS / 20
    assert size(found) < WARNED_AT_BYTES / 20


class Away(IndexingActivities):
    """PostgreSQL is away until a step was tried so often."""

    failing = 4
    attempts: Counter[int]

    @activity.defn
    async def index_shard(self, shard: Shard) -> None:
        self.attempts[shard.shard] += 1
        if max(self.attempts.values()) <= self.failing:
            raise DatabaseUnavailable("x" * MESSAGE_LIMIT)
        await super().index_shard(shard)


@pytest.fixture
async def held_up_job(verdex, client, run_worker, many_shards, finished) -> list[HistoryEvent]:
    """What is in the history of a job all whose shards were held up."""
    Away.attempts = Counter()
    async with run_worker(Away):
        job = await finished((await verdex.index(many_shards(CONCURRENT_SHARDS))).job_id)
    assert (job.status, job.files_indexed, job.status_message) == ("completed", CONCURRENT_SHARDS, None)
    return await events(client, job)


def attempts(seconds: float) -> int:
    """How often a step is tried that is held up for so long."""
    lasted, limit = timedelta(), timedelta(seconds=seconds)
    for attempt in count(1):
        pause = INDEX_SHARD.pause("transient", attempt, lasted, limit)
        if pause is None:
            return attempt
        lasted += pause
    raise AssertionError("unreachable")


async def test_of_the_steps_that_are_held_up_for_long_one_finds_out_whether_all_can_go_on(held_up_job):
    others = CONCURRENT_SHARDS - 1
    assert sorted(Away.attempts.values()) == [*[TRIED_APART + 1] * others, Away.failing + 1]
    one = slice(*(event.event_id - 1 for event in scheduled(held_up_job, "index_shard")[-others - 2 : -others]))
    alone = held_up_job[one]
    assert len(alone) == EVENTS_OF_AN_ATTEMPT
    apart = CONCURRENT_SHARDS * TRIED_APART
    longest = apart + attempts(LONGEST_BLOCKED_LIMIT_SECONDS)
    assert len(alone) * longest < WARNED_AT_EVENTS
    assert size(alone) * longest < WARNED_AT_BYTES
    assert len(alone) * (apart + attempts(BLOCKED_LIMIT_SECONDS)) < WARNED_AT_EVENTS / 5


@pytest.mark.parametrize(
    ("held_up", "pause"),
    [(0, 8), (80, 8), (200, 20), (600, 60), (1800, 60), (3600, 60), (8 * 3600, 480)],
)
def test_the_longer_a_step_is_held_up_the_longer_it_waits(held_up: float, pause: float):
    lasted, limit = timedelta(seconds=held_up), timedelta(days=1)
    assert INDEX_SHARD.pause("transient", 5, lasted, limit) == timedelta(seconds=pause)
    assert INDEX_SHARD.pause("lost", 5, lasted, limit) == timedelta(seconds=8)
