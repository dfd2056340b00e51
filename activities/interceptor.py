"""What every activity has around it: a span, heartbeats, log lines with its attempt, and known errors."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

from opentelemetry import baggage, trace
from opentelemetry.trace import Span
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.errors import application_error, worker_lost
from activities.identity import of_activity
from verdex.errors import VerdexError
from verdex.storage.statements import summed
from verdex.telemetry import bind
from verdex.telemetry.spans import set_error

HEARTBEAT_SECONDS: Final = 1.0
"""Also how soon an activity hears that its job was cancelled."""

ATTEMPT: Final = "verdex.attempt"
"""The number of the attempt, as the baggage that a workflow sends along and as an attribute of the span."""

_UNTOLD: Final = {"activity", "run_id"}
"""Ids that the span of a step does not need: its name is the one, and the job id is the other."""

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
        attempt = _attempt(info)
        with bind(attempt=attempt), _span(info, attempt) as span, summed():
            try:
                async with _heartbeats():
                    return await self.next.execute_activity(input)
            except ApplicationError as error:
                _tell(span, error, error)
                raise
            except asyncio.CancelledError as error:
                if not _is_cancelled_by_shutdown():
                    raise
                lost = worker_lost("the worker was shut down").with_traceback(error.__traceback__)
                _tell(span, lost, lost)
                raise lost from None
            except Exception as error:
                failure = application_error(error)
                _tell(span, error, failure)
                raise failure from error


def _attempt(info: activity.Info) -> int:
    """A workflow that tries again itself sends the number along; what Temporal counts begins anew then."""
    sent = str(baggage.get_baggage(ATTEMPT) or "")
    return max(info.attempt, int(sent) if sent.isdecimal() else 1)


def _span(info: activity.Info, attempt: int) -> AbstractContextManager[Span]:
    """Of the steps of a job: what schedules run every few seconds would crowd out the traces of jobs."""
    if not trace.get_current_span().get_span_context().is_valid:
        return nullcontext(trace.INVALID_SPAN)
    ids = {f"verdex.{name}": value for name, value in of_activity(info).items() if value and name not in _UNTOLD}
    return _tracer.start_as_current_span(
        info.activity_type, attributes={**ids, ATTEMPT: attempt}, record_exception=False, set_status_on_exception=False
    )


def _tell(span: Span, error: Exception, failure: ApplicationError) -> None:
    """One line, with a traceback where nobody foresaw the error; in the span, it has one always.

    The type is the name that the row of the job gives the error.
    """
    is_bug = not isinstance(error, VerdexError | ApplicationError)
    told = {"error": failure.message, "error_type": failure.type}
    _logger.warning("step failed", exc_info=error if is_bug else None, extra=told)
    span.record_exception(error)
    set_error(span, failure.type or type(error).__name__, failure.message)


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
    """Not at once: most steps of a small job end before the first, which costs Temporal as much as their result."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        activity.heartbeat()
