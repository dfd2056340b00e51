"""The attempts of a step in the trace of its job: each knows its number, and one that never answered is there too."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from opentelemetry import baggage, context, trace

    from activities.interceptor import ATTEMPT
    from verdex.telemetry.spans import record_error


class Attempt:
    """An attempt that begins now."""

    def __init__(self, step: str, argument: object, number: int) -> None:
        """`argument` tells a shard from the others."""
        self._step = step
        self._shard = getattr(argument, "shard", None)
        self._number = number
        self._began_ns = workflow.time_ns()

    @contextmanager
    def numbered(self) -> Iterator[None]:
        """An activity that is started inside hears the number: Temporal's own begins anew with each activity."""
        token = context.attach(baggage.set_baggage(ATTEMPT, str(self._number)))
        try:
            yield
        finally:
            context.detach(token)

    def lost(self, error_type: str, message: str) -> None:
        """The worker did not answer: the span that the activity had went with it, and this takes its place."""
        span = trace.get_tracer(__name__).start_span(self._step, start_time=self._began_ns)
        span.set_attribute(ATTEMPT, self._number)
        if self._shard is not None:
            span.set_attribute("verdex.shard", self._shard)
        ended_ns = workflow.time_ns()
        record_error(span, error_type, message, at_ns=ended_ns)
        span.end(ended_ns)
