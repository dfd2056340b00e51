"""Commands about jobs: index, status, jobs, files, trace, cancel."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import NoReturn, get_args

import click

from verdex.cli import output, session
from verdex.cli.failures import EXIT_CODES, RUNNING
from verdex.cli.progress import View, progress
from verdex.cli.session import Session
from verdex.client import Started, Verdex
from verdex.contracts import DEFAULT_PROJECT, FileOutcome, Job, JobEvent, JobStatus, Outcome
from verdex.errors import JobNotFound, StackError, TransientError

CANCEL_SECONDS = 10.0
RETRY_SECONDS = 1.0

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--project", "project_id", default=DEFAULT_PROJECT, show_default=True, help="The project to index into.")
@click.option("--force", is_flag=True, help="Do everything anew, also what did not change.")
@click.option("--no-wait", is_flag=True, help="Print the job and leave it to run; exit code 4.")
@_json
def index(path: Path, project_id: str, *, force: bool, no_wait: bool, as_json: bool) -> NoReturn:
    """Index the repository at PATH and wait for the end.

    Ctrl-C leaves the job running. A repository is indexed by one job at a time: if one runs already, that one is
    followed.
    """
    current, started = Session(), list[Started]()

    async def work(verdex: Verdex) -> Job:
        started.append(await verdex.index(path, project_id=project_id, force_reindex=force))
        _tell_start(started[0], force=force)
        return await (verdex.job(started[0].job_id) if no_wait else _follow(verdex, started[0].job_id, current))

    try:
        job = current.run(work)
    except KeyboardInterrupt:
        _leave_running(started)
    _finish(job, as_json=as_json)


def _tell_start(started: Started, *, force: bool) -> None:
    if started.already_running:
        again = "; run the command again after it to force a new one" if force else ""
        click.echo(f"verdex: job {started.job_id} indexes this repository already: following it{again}", err=True)
    else:
        click.echo(f"verdex: job {started.job_id}", err=True)


def _leave_running(started: list[Started]) -> NoReturn:
    if not started:
        click.echo("verdex: interrupted before a job was started", err=True)
        sys.exit(1)
    job_id = started[0].job_id
    click.echo(
        f"\nverdex: the job goes on. Follow it: verdex status {job_id} · stop it: verdex cancel {job_id}", err=True
    )
    sys.exit(RUNNING)


async def _follow(verdex: Verdex, job_id: str, current: Session) -> Job:
    """Show the job until it ends; what dies of the local stack is started again, what is elsewhere is waited for."""
    with progress() as view:
        watching = asyncio.create_task(_watch_stack(current, view))
        try:
            while True:
                try:
                    async for job in verdex.follow(job_id):
                        view.show(job)
                        if job.is_terminal:
                            return job
                except TransientError as error:
                    view.note(f"{error}; the job is safe, waiting for it")
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            watching.cancel()


async def _watch_stack(current: Session, view: View) -> None:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        try:
            await asyncio.to_thread(current.revive)
        except StackError as error:
            view.note(f"{error}; trying again")


def _finish(job: Job, *, as_json: bool) -> NoReturn:
    if as_json:
        output.show_json(job)
    else:
        click.echo(output.headline(job))
        if not job.is_terminal:
            click.echo(f"follow it: verdex status {job.job_id} · stop it: verdex cancel {job.job_id}", err=True)
        elif job.status != "completed":
            click.echo(f"more: verdex status {job.job_id} · verdex trace {job.job_id}", err=True)
    sys.exit(EXIT_CODES[job.status])


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--events", "with_events", is_flag=True, help="Also show what happened to it, and when.")
@_json
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
@click.option("--repo", "repo_path", type=click.Path(path_type=Path), help="Only jobs of this repository.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@_json
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
        click.echo(output.listing(found) or "no jobs yet: verdex index PATH")


@click.command()
@click.argument("job_or_path", metavar="JOB|PATH")
@click.option("--outcome", type=click.Choice(get_args(Outcome)), help="Only files with this outcome.")
@click.option("--project", "project_id", default=DEFAULT_PROJECT, show_default=True, help="For PATH: its project.")
@_json
def files(job_or_path: str, outcome: Outcome | None, project_id: str, *, as_json: bool) -> None:
    """Show what became of each file: of a JOB, or of the newest job of the repository at PATH."""

    async def work(verdex: Verdex) -> list[FileOutcome]:
        return await verdex.files(await _job_id(verdex, job_or_path, project_id), outcome)

    found = session.run(work)
    if as_json:
        output.show_json(found)
    else:
        for file in found:
            click.echo(output.file_line(file))
        if not found:
            click.echo("verdex: no file has such an outcome", err=True)


async def _job_id(verdex: Verdex, job_or_path: str, project_id: str) -> str:
    try:
        return (await verdex.job(job_or_path)).job_id
    except JobNotFound:
        path = Path(job_or_path)
    found = await verdex.jobs(project_id=project_id, repo_path=path, limit=1)
    if not found:
        raise JobNotFound(f"{job_or_path} is neither a job nor a repository that was indexed into {project_id}")
    return found[0].job_id


@click.command()
@click.argument("job_id", metavar="JOB")
@_json
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
@_json
def cancel(job_id: str, *, as_json: bool) -> None:
    """Stop a job. What it did is kept for the next one; searches see the index as it was before."""

    current = Session()

    async def work(verdex: Verdex) -> Job:
        before = await verdex.cancel(job_id)
        return before if before.is_terminal else await _await_end(verdex, job_id, current)

    job = current.run(work)
    if as_json:
        output.show_json(job)
    else:
        click.echo(output.headline(job))
    sys.exit(0 if job.is_terminal else RUNNING)


async def _await_end(verdex: Verdex, job_id: str, current: Session) -> Job:
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            return await _follow(verdex, job_id, current)
    except TimeoutError:
        return await verdex.job(job_id)
