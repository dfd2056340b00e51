"""The command `verdex`."""

import sys

import click

from verdex import __version__
from verdex.cli.failures import INTERRUPTED, reported
from verdex.cli.jobs import cancel, files, index, jobs, status, trace
from verdex.cli.projects import project
from verdex.cli.shell import completion
from verdex.cli.stack import doctor, down, up, worker
from verdex.temporal import leave

_HELP = """\
Index code repositories into PostgreSQL, as durable Temporal workflows.

A job's status is never a lie: it is completed when the index is there, and says why when it is not.

\b
  verdex index ~/src/project     index it, with a progress bar
  verdex jobs                    what was indexed when, and how that ended
  verdex files ~/src/project     which files are in the index, and why others are not
  verdex trace JOB               where a job spent its time, and where it failed

Without VERDEX_DATABASE_URL and TEMPORAL_ADDRESS, a local stack is started by itself; its state is in VERDEX_HOME.

\b
Exit codes: 0 completed, 1 failed, 2 wrong usage, 3 cancelled, 4 still running, 5 cannot reach the stack.
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """The group of all commands."""


for _command in (index, status, jobs, files, trace, cancel, project, up, down, doctor, worker, completion):
    cli.add_command(_command)


def main() -> None:
    """Entry point: errors are one line, and the exit code is one of the contract's."""
    leave(_exit_code())


def _exit_code() -> int:
    try:
        with reported(as_json="--json" in sys.argv):
            cli.main(prog_name="verdex", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
