"""How the errors of jobs read in Temporal's histories, and so in the Web UI."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from activities.errors import application_error
from activities.indexing import IndexingActivities
from verdex import temporal
from verdex.contracts import JobIdentity
from verdex.errors import DatabaseUnavailable

CONVERTER = temporal.DATA_CONVERTER.failure_converter


def written(error: BaseException) -> Failure:
    """What stands in a history of an error that was raised."""
    failure = Failure()
    with suppress(type(error)):
        raise error
    CONVERTER.to_failure(error, temporal.DATA_CONVERTER.payload_converter, failure)
    return failure


def of_step(error: Exception, cause: Exception | None = None) -> Failure:
    """An error of a step, as the interceptor of the activities raises it."""
    error.__cause__ = cause
    failure = application_error(error)
    failure.__cause__ = error
    return written(failure)


def test_a_failure_names_message_and_type_and_has_no_traceback():
    found = of_step(DatabaseUnavailable("PostgreSQL is not available: starting up"))
    assert found.message == "PostgreSQL is not available: starting up"
    assert found.application_failure_info.type == "DatabaseUnavailable"
    assert not found.stack_trace


def test_a_cause_that_says_the_same_is_left_out():
    refused = ConnectionRefusedError(111, "Connection refused")
    found = of_step(DatabaseUnavailable("PostgreSQL is not available: Connection refused"), refused)
    assert not of_step(DatabaseUnavailable(f"PostgreSQL is not available: {refused}"), refused).HasField("cause")
    assert found.cause.message == str(refused)


def test_the_first_cause_that_says_more_is_kept_alone():
    root = OSError("the root")
    middle = ValueError("the middle")
    middle.__cause__ = root
    found = of_step(RuntimeError("the top"), middle)
    assert found.message == "RuntimeError: the top"
    assert found.cause.message == "the middle"
    assert found.cause.application_failure_info.type == "ValueError"
    assert not found.cause.stack_trace
    assert not found.cause.HasField("cause")


def test_a_failure_that_was_read_of_a_history_stays_as_it_was():
    first = of_step(RuntimeError("the top"), ValueError("the middle"))
    read = CONVERTER.from_failure(first, temporal.DATA_CONVERTER.payload_converter)
    assert written(read) == first


def test_passwords_are_left_out_of_messages_causes_and_tracebacks():
    address = "postgresql://verdex:s3cret@host/db"
    found = written(ApplicationError(address, type="Bug"))
    task = Failure()
    try:
        raise RuntimeError(address) from ValueError(address)
    except RuntimeError as error:
        CONVERTER.to_failure(error, temporal.DATA_CONVERTER.payload_converter, task)
    assert "host/db" in found.message
    assert "s3cret" not in found.SerializeToString().decode(errors="replace")
    assert "s3cret" not in task.SerializeToString().decode(errors="replace")


def test_a_workflow_task_that_fails_keeps_its_traceback():
    assert "test_failures.py" in written(RuntimeError("the program differs from the history")).stack_trace


def test_a_message_has_a_limit():
    assert len(written(ApplicationError("x" * 100_000)).message) < 10_000


class Broken(IndexingActivities):
    """A step with a bug."""

    @activity.defn
    async def preflight(self, job: JobIdentity) -> None:
        raise KeyError("the key") from OSError("the disk")


def failures(history) -> Iterator[Failure]:
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            yield event.activity_task_failed_event_attributes.failure
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            yield event.workflow_execution_failed_event_attributes.failure


@pytest.mark.parametrize("kind", [IndexingActivities, Broken])
async def test_the_history_of_a_failed_job_reads_well(verdex, run_worker, finished, client, tmp_path, kind):
    async with run_worker(kind):
        started = await verdex.index(tmp_path / "nowhere")
        job = await finished(started.job_id)
    history = await client.get_workflow_handle(started.workflow_id, run_id=started.job_id).fetch_history()
    found = list(failures(history))
    assert len(found) > 1
    for failure in found:
        assert failure.message == job.error_message
        assert failure.application_failure_info.type == job.error_type
        assert not failure.stack_trace
        assert not failure.cause.stack_trace
    assert not found[-1].HasField("cause")
