"""How a span says that what it stands for failed: in workflows, which must stay deterministic, as anywhere else."""

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE, EXCEPTION_TYPE
from opentelemetry.trace import Span, Status, StatusCode


def set_error(span: Span, error_type: str, message: str) -> None:
    """Say that it failed, and of what."""
    span.set_attribute(ERROR_TYPE, error_type)
    span.set_status(Status(StatusCode.ERROR, message))


def record_error(
    span: Span, error_type: str, message: str, error: BaseException | None = None, *, at_ns: int | None = None
) -> None:
    """Say it in an event too, in the same words, with the traceback of `error` if there is one.

    `at_ns` is when it failed, in nanoseconds since 1970: now, unless it is given.
    """
    words = {EXCEPTION_TYPE: error_type, EXCEPTION_MESSAGE: message}
    if error is None:
        span.add_event("exception", words, timestamp=at_ns)
    else:
        span.record_exception(error, words, timestamp=at_ns)
    set_error(span, error_type, message)
