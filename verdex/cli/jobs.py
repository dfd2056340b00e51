"""Commands about jobs: status, jobs, files, trace, cancel."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import NoReturn, get_args

import click

from verdex.cli import options, output, session
from verdex.cli.failures import EXIT_CODES
from verdex.cli.following import follow
from verdex.cli.session import Session
from verdex.client import Verdex
from verdex.contracts import DEFAULT_PROJECT, FileOutcome, Job, JobEvent, JobStatus, Outcome
from verdex.errors import JobNotFound

CANCEL_SECONDS = 10.0


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--events", "with_events", is_flag=True, help="Also show what happened to it, and when.")
@options.as_json
def status(job_id: str, *, with_events: bool, as_json: bool) -> NoReturn:
    """Show one job as it is now; the exit code says how it ended."""

    async def work(verdex: Verdex) -> tuple[Job, list[JobEvent]]:
        return await verdex.job(job_id), await verdex.events(job_id) if with_events else []

    job, events = session.run(work)
    if as_json:
        told = {"events": [event.model_dump(mode="json") for event in events]} if with_events else {}
        output.show_document({**job.model_dump(mode="json"), **told})
    else:
        click.echo("\n".join([output.details(job), *map(output.event_line, events)]))
    sys.exit(EXIT_CODES[job.status])


@click.command()
@click.option("--project", "project_id", help="Only jobs of this project.")
@click.option("--status", type=click.Choice(get_args(JobStatus)), help="Only jobs with this status.")
@click.option("--repo", "repo_path", type=options.RepositoryPath(), help="Only jobs of this repository.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@options.as_json
def jobs(
    project_id: str | None, status: JobStatus | None, repo_path: Path | None, limit: int, *, as_json: bool
) -> None:
    """List jobs, the newest first."""
    found = session.run(
        lambda verdex: verdex.jobs(project_id=project_id, status=status, repo_path=repo_path, limit=limit)
    )
    if as_json:
        output.show_json(found)
    else:
        filtered = project_id or status or repo_path
        click.echo(output.listing(found) or ("no job matches" if filtered else "no jobs yet: verdex index PATH"))


@click.command()
@click.argument("job_or_path", metavar="JOB|PATH")
@click.option("--outcome", type=click.Choice(get_args(Outcome)), help="Only files with this outcome.")
@click.option("--project", "project_id", default=DEFAULT_PROJECT, show_default=True, help="For PATH: its project.")
@options.as_json
def files(job_or_path: str, outcome: Outcome | None, project_id: str, *, as_json: bool) -> None:
    """Show what became of each file: of a JOB, or of the newest job of the repository at PATH."""

    async def work(verdex: Verdex) -> tuple[Job, list[FileOutcome]]:
        job = await _job_of(verdex, job_or_path, project_id)
        return job, await verdex.files(job.job_id, outcome)

    job, found = session.run(work)
    if job.status != "completed":
        click.echo(f"verdex: job {job.job_id} has published nothing; it is {output.plain_headline(job)}", err=True)
    if as_json:
        output.show_json(found)
        return
    for file in found:
        click.echo(output.file_line(file))
    if not found:
        click.echo(f"verdex: no file of job {job.job_id} is known" + (f" as {outcome}" if outcome else ""), err=True)


async def _job_of(verdex: Verdex, job_or_path: str, project_id: str) -> Job:
    try:
        return await verdex.job(job_or_path)
    except JobNotFound:
        path = Path(job_or_path)
    found = await verdex.jobs(project_id=project_id, repo_path=path, limit=1)
    if not found:
        raise JobNotFound(f"{job_or_path} is neither a job nor a repository that was indexed into {project_id}")
    return found[0]


@click.command()
@click.argument("job_id", metavar="JOB")
@options.as_json
def trace(job_id: str, *, as_json: bool) -> None:
    """Draw where a job spent its time, and where it failed."""
    from verdex.telemetry import store, tree  # noqa: PLC0415  (slow to import)

    current = Session()
    job = current.run(lambda verdex: verdex.job(job_id))
    spans = store.read(current.settings.traces_directory, job.trace_id or "")
    if as_json:
        output.show_document(tree.to_json(spans))
        return
    if not spans:
        raise JobNotFound(f"no spans of job {job_id} are kept here (trace {job.trace_id})")
    output.show_rich(tree.render(spans, shutil.get_terminal_size((100, 24)).columns))


@click.command()
@click.argument("job_id", metavar="JOB")
@options.as_json
def cancel(job_id: str, *, as_json: bool) -> NoReturn:
    """Stop a job. What it did is kept for the next one; searches see the index as it was before.

    Exit code 0: it is cancelled. Else that of the status: the job may have ended before, or may have nobody to stop it.
    """
    current = Session()

    async def work(verdex: Verdex) -> tuple[Job, Job]:
        before = await verdex.cancel(job_id)
        return before, before if before.is_terminal else await _end(verdex, before.job_id, current)

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


async def _end(verdex: Verdex, job_id: str, current: Session) -> Job:
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            return await follow(job_id, current)
    except TimeoutError:
        return await verdex.job(job_id)
