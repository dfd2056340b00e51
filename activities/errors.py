"""The one place where errors become what Temporal carries."""

from typing import Final

from temporalio.exceptions import ApplicationError

from verdex.contracts import FailureKind, plain
from verdex.errors import TransientError, VerdexError
from verdex.telemetry import redact

MESSAGE_LIMIT: Final = 4000
"""Characters: failures are kept in histories, whose size is limited."""


def application_error(error: Exception) -> ApplicationError:
    """What the workflow sees of an error: type, message for the user, and its kind as the only detail."""
    if isinstance(error, VerdexError):
        kind: FailureKind = "transient" if isinstance(error, TransientError) else "permanent"
        message = str(error)
    else:
        kind, message = "bug", f"{type(error).__name__}: {error}"
    return ApplicationError(
        plain(redact(message))[:MESSAGE_LIMIT], kind, type=type(error).__name__, non_retryable=kind == "permanent"
    )


def worker_lost(reason: str) -> ApplicationError:
    """What the workflow sees of an attempt that its worker broke off: another worker takes the step up."""
    kind: FailureKind = "lost"
    return ApplicationError(reason, kind, type="WorkerLost")
