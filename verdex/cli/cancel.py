"""The command `cancel`."""

import asyncio
import sys
from typing import Final, NoReturn

import click

from verdex.cli import naming, options, output
from verdex.cli.failures import EXIT_CODES
from verdex.cli.following import follow
from verdex.cli.session import Session
from verdex.client import Verdex
from verdex.contracts import Job

CANCEL_SECONDS: Final = 10.0


@click.command(epilog=naming.HELP)
@click.argument("job_id", metavar="JOB")
@options.as_json
def cancel(job_id: str, *, as_json: bool) -> NoReturn:
    """Stop a job. What it did is kept for the next one; searches see the index as it was before.

    Exit code 0: it is cancelled. Else that of the status: the job may have ended before, or may have nobody to stop it.
    """
    current = Session()

    async def work(verdex: Verdex) -> tuple[Job, Job]:
        before = await verdex.cancel(await naming.full_id(verdex, job_id))
        return before, before if before.is_terminal else await _end(before.job_id, verdex, current)

    before, after = current.run(work)
    if as_json:
        output.show_json(after)
    else:
        click.echo(output.headline(after))
    if before.is_terminal:
        click.echo("verdex: it had ended before: nothing was cancelled", err=True)
    elif not after.is_terminal:
        click.echo("verdex: it is asked to stop, and will as soon as a worker hears of it", err=True)
    sys.exit(0 if after.status == "cancelled" else EXIT_CODES[after.status])


async def _end(job_id: str, verdex: Verdex, current: Session) -> Job:
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            return await follow(job_id, verdex, current)
    except TimeoutError:
        return await verdex.job(job_id)
