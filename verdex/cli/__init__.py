"""The command `verdex`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from verdex import __version__
from verdex.cli.cancel import cancel
from verdex.cli.failures import BROKEN_PIPE, INTERRUPTED, UNWRITABLE, reported
from verdex.cli.index import index
from verdex.cli.jobs import files, jobs, status, trace
from verdex.cli.output import wants_styles
from verdex.cli.projects import project
from verdex.cli.shell import completion
from verdex.cli.stack import doctor, down, up, worker
from verdex.cli.verify import verify
from verdex.telemetry import keep_secrets_of
from verdex.temporal import leave

_HELP = """\
Index code repositories into PostgreSQL, as durable Temporal workflows.

A job's status is never a lie: it is completed when the index is there, and says why when it is not.

\b
  verdex index ~/src/project     index it, with a progress bar
  verdex jobs                    what was indexed when, and how that ended
  verdex files ~/src/project     which files are in the index, and why others are not
  verdex verify ~/src/project    whether the index is what the source holds now
  verdex trace JOB               where a job spent its time, and where it failed

Without VERDEX_DATABASE_URL and TEMPORAL_ADDRESS, a local stack is started by itself; its state is in VERDEX_HOME.

\b
Exit codes: 0 completed, 1 failed, 2 wrong usage, 3 cancelled, 4 still running, 5 cannot reach the stack.
"""


class _Commands(click.Group):
    """Where nobody reads the output any more, click would give the exit code of a failed job."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:  # noqa: ANN401
        """Read the command line, and show help."""
        with _until_nobody_reads():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        with _until_nobody_reads():
            return super().invoke(ctx)


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)


@click.group(
    cls=_Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """The group of all commands."""


for _command in (index, status, jobs, files, verify, trace, cancel, project, up, down, doctor, worker, completion):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command: errors are one line, and the exit code is one of the contract's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal cannot show
    leave(_exit_code())


def _exit_code() -> int:
    keep_secrets_of(os.environ)
    try:
        with reported(as_json="--json" in sys.argv):
            cli.main(prog_name="verdex", standalone_mode=False, color=wants_styles())
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        what = error.filename or "the output could not be written"
        click.echo(f"verdex: {error.strerror}: {what}", err=True)
        return UNWRITABLE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
