"""Commands about the stack: up, down, doctor, worker."""

import os
import shlex
import sys
from typing import NoReturn

import click

from verdex.cli import options, output, session
from verdex.cli.failures import UNREACHABLE
from verdex.cli.terminal import styled
from verdex.ending import ended_by_ctrl_c
from verdex.errors import SettingsError
from verdex.local.findings import Finding
from verdex.local.stack import WORKER_COMMAND, LocalStack


def _local() -> LocalStack:
    stack = session.local_stack()
    if stack is None:
        raise SettingsError(
            "VERDEX_DATABASE_URL and TEMPORAL_ADDRESS are set, so there is no local stack to manage: unset them first"
        )
    return stack


@click.command()
@click.option("--env", "as_environment", is_flag=True, help='Print variables for a shell: eval "$(verdex up --env)".')
@options.as_json
def up(*, as_environment: bool, as_json: bool) -> None:
    """Start the local stack: PostgreSQL, Temporal with its Web UI, and a worker."""
    stack = _local()
    endpoints = stack.up(session.say, replace_worker=True)
    if as_environment:
        for name, value in endpoints.environment().items():
            click.echo(f"export {name}={shlex.quote(value)}")
        return
    if as_json:
        output.show_document({"home": str(stack.home), **endpoints._asdict()})
        return
    click.echo(f"PostgreSQL  {endpoints.database_url}\n            {endpoints.psql}")
    click.echo(f"Temporal    {endpoints.temporal_address}\nWeb UI      {endpoints.ui_url}")
    click.echo(f"worker      log in {stack.worker.log}\nstate       {stack.home}")


@click.command()
def down() -> None:
    """Stop the local stack. Jobs that run go on after the next start; nothing is lost."""
    _local().down(session.say)
    click.echo("the local stack is down")


@click.command()
@options.as_json
def doctor(*, as_json: bool) -> NoReturn:
    """Check each part and say what to do about what is wrong. Nothing is started or changed.

    Looked at are versions, disk, processes, migrations, the workers that poll, clocks, and leftovers.
    Exit code 0: all is well, but for warnings; 5: something is not.
    """
    with ended_by_ctrl_c():
        from verdex.local.doctor import examine  # noqa: PLC0415  (slow to import)

    findings = examine(session.local_stack())
    if as_json:
        output.show_document([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            click.echo(_line(finding))
    sys.exit(0 if all(finding.ok for finding in findings) else UNREACHABLE)


def _line(finding: Finding) -> str:
    if not finding.ok:
        mark = styled("BAD ", colour="red", bold=True)
    else:
        warn, ok = styled("warn", colour="yellow", bold=True), styled("ok  ", colour="green")
        mark = warn if finding.advice else ok
    advice = f"\n     → {finding.advice}" if finding.advice else ""
    return f"{mark} {output.printable(f'{finding.part}: {finding.found}')}{advice}"


@click.command()
def worker() -> NoReturn:
    """Run a worker in the foreground, as a process of its own; SIGTERM or Ctrl-C drains it."""
    session.Session()
    os.execv(sys.executable, WORKER_COMMAND)  # noqa: S606
