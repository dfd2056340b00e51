"""The row of a job, as its workflow keeps it: the workflow changes the state, this writes it down in order."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows import policies
from workflows.display import Display

with workflow.unsafe.imports_passed_through():
    from activities.registry import RegistryActivities
    from verdex.contracts import TERMINAL, IndexResult, JobIdentity, JobRecord, JobState, JobStatus, Phase

Result = TypeVar("Result")


async def uninterrupted(work: Awaitable[Result]) -> Result:
    """The result of `work`, which goes on to its end even if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
    return task.result()


class JobRow:
    """Writes are one after the other; while one is on its way, later changes of state are joined into the next."""

    def __init__(self, identity: JobIdentity, started_at: datetime) -> None:
        """Nothing is written before `begin`."""
        self.identity = identity
        self.state = JobState()
        self.display = Display()
        self._started_at = started_at
        self._revision = 0
        self._blocks: dict[str, tuple[str, int]] = {}
        self._writing = asyncio.Lock()
        self._written: JobState | None = None
        self._syncing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Record the job as running."""
        self.state = JobState(status="running", phase="preflight")
        self.display.show(self.state)
        await asyncio.shield(self._sync())

    def enter(self, phase: Phase, **changes: Any) -> None:  # noqa: ANN401
        """Go on to the next phase; the record follows by itself."""
        self._change(phase=phase, **changes)

    def block(self, step: str, reason: str, attempt: int) -> None:
        """Say that a step is held up, and why; the record follows by itself."""
        self._blocks[step] = (reason, attempt)
        self._show_blocks()

    def unblock(self, step: str) -> None:
        """Say that a step goes on."""
        if self._blocks.pop(step, None):
            self._show_blocks()

    def is_held_up(self, step: str) -> bool:
        """Whether the step is held up, as far as the row says."""
        return step in self._blocks

    @property
    def longest_held_up(self) -> str | None:
        """The step whose reason the row tells."""
        return next(iter(self._blocks), None)

    async def end(self, status: JobStatus, result: IndexResult | None, message: str | None = None) -> None:
        """Record the end of the job, however long that takes; a cancellation cannot break it off.

        Raises:
            ActivityError: the registry refuses it.
        """
        state = JobState(status=status, phase=self.state.phase, status_message=message)
        await uninterrupted(self._write(state, workflow.now(), result))
        self.state = state
        self.display.show(state, result)

    def _show_blocks(self) -> None:
        reason, attempt = next(iter(self._blocks.values()), (None, 1))
        self._change(status="blocked" if self._blocks else "running", status_message=reason, attempt=attempt)

    def _change(self, **changes: Any) -> None:  # noqa: ANN401
        self.state = self.state.model_copy(update=changes)
        self.display.show(self.state)
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync())

    async def _sync(self) -> None:
        while self._written != self.state:
            await self._write(self.state)

    async def _write(
        self, state: JobState, completed_at: datetime | None = None, result: IndexResult | None = None
    ) -> None:
        async with self._writing:
            record = JobRecord(
                identity=self.identity,
                revision=self._next_revision(),
                state=state,
                started_at=self._started_at,
                completed_at=completed_at,
                result=result,
            )
            await _record(record)
            self._written = state

    def _next_revision(self) -> int:
        """A workflow task that is done again, because its worker died, may know more: then its history is longer."""
        self._revision = max(self._revision + 1, workflow.info().get_current_history_length())
        return self._revision


async def _record(record: JobRecord) -> None:
    """Write the row: as a part of the workflow task where that is possible, which costs Temporal a third."""
    if _may_be_forgotten(record) and workflow.patched("records within the workflow task"):
        with suppress(FailureError):
            return await _record_within_the_workflow_task(record)
    return await workflow.execute_activity_method(
        RegistryActivities.update_registry,
        record,
        start_to_close_timeout=policies.RECORD_TIMEOUT,
        heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
        retry_policy=policies.WITHOUT_END,
        summary=record.state.status,
    )


def _may_be_forgotten(record: JobRecord) -> bool:
    """Where the worker dies, the task is done again without a memory of it, and may go another way: not at an end."""
    return record.state.status not in TERMINAL


async def _record_within_the_workflow_task(record: JobRecord) -> None:
    await workflow.execute_local_activity_method(
        RegistryActivities.update_registry,
        record,
        start_to_close_timeout=policies.RECORD_WITHIN_TASK_TIMEOUT,
        retry_policy=policies.ONCE,
        summary=record.state.status,
    )
