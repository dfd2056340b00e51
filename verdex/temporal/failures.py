"""How errors are written into Temporal's histories, where people read them in the Web UI."""

from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import FailureError

from verdex.telemetry import redact

MESSAGE_LIMIT: Final = 4000
"""Characters: the size of a history is limited."""


class ReadableFailures(DefaultFailureConverter):
    """Writes message, type and the first cause that says more, without passwords.

    Tracebacks are in the trace and in the log. One is kept where neither may hold it: of an error that is not raised
    as a failure, which is how a workflow task fails.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """As the base class does, which calls this for the causes as well."""
        super().to_failure(exception, payload_converter, failure)
        failure.message = redact(failure.message)[:MESSAGE_LIMIT]
        failure.stack_trace = redact(failure.stack_trace)
        is_from_history = isinstance(exception, FailureError) and exception.failure is not None
        if isinstance(exception, FailureError) and not is_from_history:
            failure.stack_trace = ""
            _keep_one_cause(failure)


def _keep_one_cause(failure: Failure) -> None:
    if (cause := _first_that_says_more(failure)) is None:
        failure.ClearField("cause")
        return
    cause.stack_trace = ""
    cause.ClearField("cause")
    failure.cause.CopyFrom(cause)


def _first_that_says_more(failure: Failure) -> Failure | None:
    cause = failure
    while cause.HasField("cause"):
        cause = cause.cause
        if cause.message not in failure.message:
            found = Failure()
            found.CopyFrom(cause)
            return found
    return None
