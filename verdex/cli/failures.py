"""How the command ends: exit codes, and errors in one line."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from verdex.errors import (
    DatabaseNotFound,
    DatabaseRefused,
    EmbedderInvalid,
    EmbedderMismatch,
    EmbedderRefused,
    JobNotFound,
    NotIndexed,
    ProjectExists,
    ProjectInUse,
    ProjectNameInvalid,
    ProjectNotFound,
    QueryInvalid,
    RepositoryError,
    SchemaTooNew,
    SettingsError,
    StackError,
    TransientError,
    VectorsUnsupported,
    VerdexError,
)

if TYPE_CHECKING:
    from verdex.contracts import JobStatus

USAGE: Final = 2
RUNNING: Final = 4
UNREACHABLE: Final = 5
UNWRITABLE: Final = 74
BROKEN_PIPE: Final = 141
"""As shells have it: who read the output has gone."""
EXIT_CODES: Final["dict[JobStatus, int]"] = {
    "completed": 0,
    "failed": 1,
    "cancelled": 3,
    "pending": RUNNING,
    "running": RUNNING,
    "blocked": RUNNING,
}
_WRONG_USAGE: Final = (
    SettingsError, RepositoryError, JobNotFound, ProjectNotFound, ProjectExists, ProjectNameInvalid, ProjectInUse,
    EmbedderInvalid, EmbedderRefused, EmbedderMismatch, QueryInvalid, NotIndexed,
)  # fmt: skip
_UNREACHABLE: Final = (
    TransientError, StackError, SchemaTooNew, DatabaseNotFound, DatabaseRefused, VectorsUnsupported
)  # fmt: skip


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turn an error of verdex into one line on stderr (and with --json an object on stdout) and an exit code."""
    try:
        yield
    except VerdexError as error:
        from verdex.telemetry import redact  # noqa: PLC0415  (slow to import)

        message = " ".join(redact(str(error)).split("\n"))
        click.echo(f"verdex: {message}", err=True)
        if as_json:
            click.echo(json.dumps({"error": message, "error_type": type(error).__name__}))
        sys.exit(_exit_code(error))


def _exit_code(error: VerdexError) -> int:
    if isinstance(error, _WRONG_USAGE):
        return USAGE
    return UNREACHABLE if isinstance(error, _UNREACHABLE) else 1
