"""The command `index`."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from verdex.cli import options, output
from verdex.cli.failures import EXIT_CODES, RUNNING
from verdex.cli.following import follow
from verdex.cli.session import Session
from verdex.client import JobHandle, Verdex
from verdex.contracts import DEFAULT_PROJECT, Job
from verdex.errors import StackDown


@click.command()
@click.argument("path", type=options.RepositoryPath())
@click.option("--project", "project_id", default=DEFAULT_PROJECT, show_default=True, help="The project to index into.")
@click.option("--force", is_flag=True, help="Do everything anew, also what did not change.")
@click.option("--no-wait", is_flag=True, help="Print the job and leave it to run; exit code 4.")
@options.as_json
def index(path: Path, project_id: str, *, force: bool, no_wait: bool, as_json: bool) -> NoReturn:
    """Index the repository at PATH and wait for the end.

    Ctrl-C leaves the job running. A repository is indexed by one job at a time: if one runs already, that one is
    followed; with --force its end is waited for, unless it is forced too, and then the forced job starts.
    """
    session, started = Session(replace_worker=True), list[JobHandle]()
    in_the_way = False

    async def work(verdex: Verdex) -> Job:
        nonlocal in_the_way
        started.append(await verdex.index(path, project_id=project_id, force_reindex=force))
        in_the_way = force and started[-1].already_running and not (await verdex.job(started[-1].job_id)).force_reindex
        _tell_start(started[-1], in_the_way=in_the_way, no_wait=no_wait)
        if no_wait:
            return await verdex.job(started[-1].job_id)
        job = await follow(started[-1], verdex, session)
        if not in_the_way:
            return job
        click.echo(f"verdex: job {job.job_id} is {output.plain_headline(job)}", err=True)
        async with await Verdex.connect() as reconnected:  # what was started again meanwhile may have moved
            return await work(reconnected)

    try:
        job = session.run(work)
    except KeyboardInterrupt:
        _leave_running(started, "the job goes on.", in_the_way=in_the_way)
    except StackDown as down:
        _leave_running(started, f"{down}; the job goes on when it is up again.", in_the_way=in_the_way)
    _finish(job, as_json=as_json)


def _tell_start(started: JobHandle, *, in_the_way: bool, no_wait: bool) -> None:
    if not started.already_running:
        told = ""
    elif not in_the_way:
        told = " indexes this repository already: following it"
    elif no_wait:
        told = " indexes this repository already, and nothing is forced: run this again when it has ended"
    else:
        told = " indexes this repository already: a forced one follows when it has ended"
    click.echo(f"verdex: job {started.job_id}{told}", err=True)


def _leave_running(started: list[JobHandle], why: str, *, in_the_way: bool) -> NoReturn:
    if not started:
        raise click.Abort
    job_id, forced = started[-1].job_id, " Nothing is forced: run this again when it has ended." if in_the_way else ""
    click.echo(
        f"\nverdex: {why}{forced} Follow it: verdex status --watch {job_id} · stop it: verdex cancel {job_id}", err=True
    )
    sys.exit(RUNNING)


def _finish(job: Job, *, as_json: bool) -> NoReturn:
    if as_json:
        output.show_json(job)
    else:
        click.echo(output.headline(job))
        if not job.is_terminal:
            click.echo(f"follow it: verdex status --watch {job.job_id} · stop it: verdex cancel {job.job_id}", err=True)
        elif job.status != "completed":
            click.echo(f"more: verdex status {job.job_id} · verdex trace {job.job_id}", err=True)
    sys.exit(EXIT_CODES[job.status])
