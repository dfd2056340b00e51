"""What every activity has around it: a span, heartbeats, log lines with the ids of its job, and known errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.errors import application_error, worker_lost
from verdex.contracts import project_of
from verdex.telemetry import bind

HEARTBEAT_SECONDS: Final = 0.5
"""Also how soon an activity hears that its job was cancelled."""

_logger = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)


class ActivityEnvironment(Interceptor):
    """Register it on the worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap every activity."""
        return _Environment(next)


class _Environment(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401
        info = activity.info()
        ids: dict[str, str | int | None] = {
            "job_id": info.workflow_run_id,
            "project_id": project_of(info.workflow_id or ""),
            "workflow_id": info.workflow_id,
            "activity": info.activity_type,
            "attempt": info.attempt,
        }
        with bind(**ids), _span(info, ids) as span:
            try:
                async with _heartbeats():
                    return await self.next.execute_activity(input)
            except ApplicationError as error:
                _record(span, error, error.message)
                raise
            except asyncio.CancelledError:
                if not _is_cancelled_by_shutdown():
                    raise
                lost = worker_lost("the worker was shut down")
                _record(span, lost, lost.message)
                raise lost from None
            except Exception as error:
                failure = application_error(error)
                _logger.warning("step failed", exc_info=error, extra={"error": failure.message})
                _record(span, error, failure.message)
                raise failure from error


def _span(info: activity.Info, ids: Mapping[str, str | int | None]) -> AbstractContextManager[Span]:
    """The attempt is the one attribute that tells nothing as long as it is the first."""
    told = ids.keys() - ({"activity"} if info.attempt > 1 else {"activity", "attempt"})
    attributes = {f"verdex.{name}": value for name in sorted(told) if (value := ids[name]) is not None}
    return _tracer.start_as_current_span(
        info.activity_type, attributes=attributes, record_exception=False, set_status_on_exception=False
    )


def _record(span: Span, error: Exception, message: str) -> None:
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, message))


def _is_cancelled_by_shutdown() -> bool:
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown and not details.cancel_requested


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    beating = asyncio.create_task(_beat())
    try:
        yield
    finally:
        beating.cancel()


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_SECONDS)
