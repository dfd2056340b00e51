"""What Temporal runs again and again while a worker lives."""

from datetime import timedelta

import pytest

from worker import COLLECTION, RECONCILIATION, _schedule


@pytest.mark.parametrize("recurring", [RECONCILIATION, COLLECTION], ids=lambda recurring: recurring.workflow)
async def test_a_newer_worker_brings_the_schedule_of_an_older_one_up_to_date(client, settings, recurring):
    """But does not resume what somebody paused."""
    schedule = client.get_schedule_handle(f"{recurring.workflow}:{settings.task_queue}")
    await _schedule(client, settings, recurring._replace(every=timedelta(hours=7)))
    try:
        await schedule.pause(note="by hand")
        await _schedule(client, settings, recurring)
        found = (await schedule.describe()).schedule
    finally:
        await schedule.delete()
    assert [interval.every for interval in found.spec.intervals] == [recurring.every]
    assert (found.state.paused, found.state.note) == (True, "by hand")
