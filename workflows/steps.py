"""Running one step: try, and where it makes sense wait and try again, saying so in the row of the job."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from temporalio import exceptions, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from workflows import policies
from workflows.attempts import Attempt
from workflows.policies import StepPolicy
from workflows.row import JobRow

with workflow.unsafe.imports_passed_through():
    from verdex.contracts import FailureKind, Model

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Failure(Model):
    """Why an attempt of a step failed."""

    kind: FailureKind
    error_type: str
    message: str

    @classmethod
    def of(cls, error: BaseException | None) -> "Failure":
        """Read what `activities.errors` wrote, or what Temporal says of an attempt that never answered."""
        match error:
            case ApplicationError(details=[kind, *_]):
                return cls(kind=kind, error_type=error.type or "Error", message=error.message)
            case ApplicationError():
                return cls(kind="bug", error_type=error.type or "Error", message=error.message)
            case exceptions.TimeoutError():
                return cls(kind="lost", error_type="WorkerLost", message=f"the worker did not answer: {error.message}")
            case _:
                return cls(kind="bug", error_type=type(error).__name__, message=str(error))


class StepFailed(Exception):
    """A step failed for good."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure of the last attempt."""
        super().__init__(failure.message)
        self.failure = failure


class Failures:
    """Of the attempts of one step."""

    def __init__(self, policy: StepPolicy, blocked_limit: timedelta) -> None:
        """As `Steps` is told."""
        self.held_up_since: datetime | None = None
        self._policy = policy
        self._blocked_limit = blocked_limit
        self._of_kind = Counter[FailureKind]()

    def pause(self, kind: FailureKind, attempt: int) -> timedelta | None:
        """How long to wait after one more, which was the attempt of this number; None to give up."""
        self.held_up_since = self.held_up_since or workflow.now()
        self._of_kind[kind] += 1
        number = self._of_kind[kind]
        if number < attempt and not workflow.patched("attempts of each kind"):
            number = attempt
        return self._policy.pause(kind, number, workflow.now() - self.held_up_since, self._blocked_limit)


class Steps:
    """Runs the steps of one job."""

    def __init__(self, row: JobRow, blocked_limit: timedelta) -> None:
        """A step that is held up for longer than `blocked_limit` fails."""
        self._row = row
        self._blocked_limit = blocked_limit

    async def run(
        self,
        activity: Callable[[Any, Argument], Awaitable[Result]],
        argument: Argument,
        policy: StepPolicy,
        *,
        summary: str | None = None,
        retry: RetryPolicy = policies.ONCE,
    ) -> Result:
        """The result of an activity.

        Raises:
            StepFailed: it failed, and will not be tried again.
        """
        name = f"{activity.__name__} {summary or ''}"
        failures = Failures(policy, self._blocked_limit)
        for attempt in count(1):
            traced = Attempt(activity.__name__, argument, attempt)
            with traced.numbered():
                running = workflow.start_activity_method(
                    activity,
                    argument,
                    task_queue=policy.queue(workflow.info().task_queue),
                    start_to_close_timeout=policy.timeout,
                    heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
                    retry_policy=retry,
                    summary=summary,
                )
            try:
                result = await running
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                failure = Failure.of(error.cause)
                if isinstance(error.cause, exceptions.TimeoutError):
                    traced.lost(failure.error_type, failure.message)
                pause = failures.pause(failure.kind, attempt)
                if pause is None:
                    raise StepFailed(failure) from error
                if await self._leave_it_to_another(name, failure, attempt):
                    failures.held_up_since = None
                    continue
                self._say(name, failure, attempt, pause)
                await workflow.sleep(pause)
            else:
                self._row.unblock(name)
                return result
        raise AssertionError("unreachable")

    async def _leave_it_to_another(self, step: str, failure: Failure, attempt: int) -> bool:
        """Wait until another step, which was held up before, has found out that it can go on; whether there is one.

        Or the steps of a job that is held up for long would fill its history all together.
        """
        other = self._row.longest_held_up
        if failure.kind != "transient" or attempt < policies.TRIED_APART or other is None or other == step:
            return False
        if not workflow.patched("one step finds out"):
            return False
        self._row.unblock(step)
        await workflow.wait_condition(lambda: not self._row.is_held_up(other))
        return True

    def _say(self, step: str, failure: Failure, attempt: int, pause: timedelta) -> None:
        if failure.kind == "transient":
            reason = f"{failure.message} (attempt {attempt + 1} in {pause.total_seconds():g} s)"
            self._row.block(step, reason, attempt)
