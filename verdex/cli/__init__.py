"""The command `verdex`. What a command needs is imported when it is run: to show help takes none of it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import click

from verdex import __version__
from verdex.cli.failures import BROKEN_PIPE, UNWRITABLE, reported
from verdex.cli.terminal import wants_styles
from verdex.ending import INTERRUPTED, ended_by_ctrl_c, leave

_HELP = """\
Index code repositories into PostgreSQL, as durable Temporal workflows.

A job's status is never a lie: it is completed when the index is there, and says why when it is not.

\b
  verdex index ~/src/project     index it, with a progress bar
  verdex search how to parse     the places that answer best, and which index they are from
  verdex jobs                    what was indexed when, and how that ended
  verdex files ~/src/project     which files are in the index, and why others are not
  verdex verify ~/src/project    whether the index is what the source holds now
  verdex trace JOB               where a job spent its time, and where it failed

Without VERDEX_DATABASE_URL and TEMPORAL_ADDRESS, a local stack is started by itself; its state is in VERDEX_HOME.

\b
Exit codes: 0 completed, 1 failed, 2 wrong usage, 3 cancelled, 4 still running, 5 cannot reach the stack.
"""
COMMANDS: Final = {
    "cancel": ("cancel", "Stop a job."),
    "completion": ("shell", "Print the completion script of a shell."),
    "doctor": ("stack", "Check each part and say what to do about what is wrong."),
    "down": ("stack", "Stop the local stack."),
    "files": ("jobs", "Show what became of each file: of a JOB, or of the newest job of the repository at PATH."),
    "index": ("index", "Index the repository at PATH and wait for the end."),
    "jobs": ("jobs", "List jobs, the newest first."),
    "mcp": ("mcp", "Serve coding agents by MCP, the Model Context Protocol."),
    "project": ("projects", "Create, list and drop projects: isolated workspaces with a database each."),
    "search": ("search", "Search what was indexed: QUERY is a question, names, the text of an error, or a path."),
    "status": ("jobs", "Show one job as it is now; the exit code says how it ended."),
    "trace": ("jobs", "Draw where a job spent its time, and where it failed."),
    "up": ("stack", "Start the local stack: PostgreSQL, Temporal with its Web UI, and a worker."),
    "verify": ("verify", "Check that what the last completed job claimed of the repository at PATH is true now."),
    "worker": ("stack", "Run a worker in the foreground, as a process of its own; SIGTERM or Ctrl-C drains it."),
}
"""The module of each command, and the first sentence of its help, which the list of all commands shows."""


class _Commands(click.Group):
    """Imports a command when it is run. Where nobody reads any more, click would give the exit code of a failed job."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:  # noqa: ANN401
        """Read the command line, and show help."""
        with _until_nobody_reads():
            return super().make_context(*arguments, **options)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant, of which until now only the first sentence of its help is here."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and found else None, rest

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        with _until_nobody_reads():
            return super().invoke(ctx)


def load(name: str) -> click.Command:
    """Import a command, and what keeps secrets out of all that it tells."""
    module, _ = COMMANDS[name]
    with ended_by_ctrl_c():
        from verdex.telemetry import keep_secrets_of  # noqa: PLC0415  (slow to import)

        command: click.Command = getattr(import_module(f"verdex.cli.{module}"), name)
    keep_secrets_of(os.environ)
    return command


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


for _name, (_, _help) in COMMANDS.items():
    cli.add_command(click.Command(_name, help=_help))


def main() -> NoReturn:
    """Run the command: errors are one line, and the exit code is one of the contract's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal cannot show
    leave(_exit_code())


def _options() -> list[str]:
    """What was given, but for what stands behind "--"."""
    given = sys.argv[1:]
    return given[: given.index("--")] if "--" in given else given


def _exit_code() -> int:
    try:
        with reported(as_json="--json" in _options()):
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
