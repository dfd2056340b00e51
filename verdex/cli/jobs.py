"""Commands about jobs: status, jobs, files, trace."""

import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, get_args

import click

from verdex.cli import naming, options, output, session
from verdex.cli.details import details, event_lines
from verdex.cli.failures import EXIT_CODES
from verdex.cli.following import follow
from verdex.cli.session import Session
from verdex.cli.terminal import on_terminal
from verdex.client import Verdex
from verdex.contracts import DEFAULT_PROJECT, FileOutcome, Job, JobEvent, JobStatus, Outcome
from verdex.errors import JobNotFound, TransientError


@click.command(epilog=naming.HELP)
@click.argument("job_id", metavar="JOB")
@click.option("--events", "with_events", is_flag=True, help="Also show what happened to it, and when.")
@options.watch
@options.as_json
def status(job_id: str, *, with_events: bool, watch: bool, as_json: bool) -> NoReturn:
    """Show one job as it is now; the exit code says how it ended.

    With --watch, it is shown until it ends or until Ctrl-C; with --json as well, each change is a line of JSON.
    """
    current = Session()
    if watch:
        _watch_job(job_id, current, as_json=as_json)

    job, events = current.run(lambda verdex: _known(verdex, job_id, with_events=with_events))
    if as_json:
        told = {"events": [event.model_dump(mode="json") for event in events]} if with_events else {}
        output.show_document({**job.model_dump(mode="json"), **told})
    else:
        click.echo("\n".join([details(job, events, current.pages(job)), *event_lines(events * with_events)]))
    sys.exit(EXIT_CODES[job.status])


async def _known(verdex: Verdex, given: str, *, with_events: bool = False) -> tuple[Job, list[JobEvent]]:
    """A job and its events; those of one that is held up tell since when, unless it is the registry that does not."""
    job = await _job(verdex, given)
    if with_events:
        return job, await verdex.events(job.job_id)
    with suppress(TransientError):
        return job, await verdex.events(job.job_id) if job.status == "blocked" else []
    return job, []


def _watch_job(given: str, current: Session, *, as_json: bool) -> NoReturn:
    from verdex.cli.watching import view  # noqa: PLC0415  (slow to import)

    job, events = current.run(lambda verdex: _known(verdex, given))
    job_id = job.job_id
    shown = view(current.pages, as_json=as_json, transient=True, events=events)
    try:
        job = current.run(lambda verdex: follow(job_id, verdex, current, shown))
    except KeyboardInterrupt:
        job = current.run(lambda verdex: verdex.job(job_id))
    if on_terminal() and not as_json:
        click.echo(details(job, pages=current.pages(job)))
    sys.exit(EXIT_CODES[job.status])


@click.command()
@click.option("--project", "project_id", help="Only jobs of this project.")
@click.option("--status", type=click.Choice(get_args(JobStatus)), help="Only jobs with this status.")
@click.option("--repo", "repo_path", type=options.RepositoryPath(), help="Only jobs of this repository.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@options.watch
@options.as_json
def jobs(  # noqa: PLR0913  (an option each)
    project_id: str | None, status: JobStatus | None, repo_path: Path | None, limit: int, *, watch: bool, as_json: bool
) -> None:
    """List jobs, the newest first.

    On a terminal, the table is as wide as that, and shows the end of each id, which every command takes for the whole
    one. In a pipe or a file, nothing is cut. With --watch, it goes on until Ctrl-C.
    """

    async def find(verdex: Verdex) -> list[Job]:
        return await verdex.jobs(project_id=project_id, status=status, repo_path=repo_path, limit=limit)

    current = Session()
    if watch:
        _watch_jobs(find, current, as_json=as_json)
    found = current.run(find)
    if as_json:
        output.show_json(found)
    elif found:
        _show_table(found, current)
    else:
        click.echo("no job matches" if project_id or status or repo_path else "no jobs yet: verdex index PATH")


def _watch_jobs(find: Callable[[Verdex], Awaitable[list[Job]]], current: Session, *, as_json: bool) -> NoReturn:
    from verdex.cli.watching import view, watch  # noqa: PLC0415  (slow to import)

    shown = view(current.pages, as_json=as_json, transient=False)
    try:
        current.run(lambda _: watch(find, shown))
    except KeyboardInterrupt:
        sys.exit(0)


def _show_table(found: Sequence[Job], current: Session) -> None:
    from verdex.cli import table  # noqa: PLC0415  (slow to import)

    if on_terminal():
        width = shutil.get_terminal_size().columns
        output.show_rich(table.jobs_table(found, width, current.pages), width)
    else:
        click.echo(table.text(found))


@click.command(epilog=naming.HELP)
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


async def _job_of(verdex: Verdex, given: str, project_id: str) -> Job:
    """A whole id is that of a job; what else could name a path as well as a job is the path."""
    if naming.is_whole(given):
        return await verdex.job(given)
    if found := await verdex.jobs(project_id=project_id, repo_path=Path(given), limit=1):
        return found[0]
    if _exists(given) or not naming.is_part(given):
        raise JobNotFound(f"{given} is neither a job nor a repository that was indexed into {project_id}")
    return await _job(verdex, given)


def _exists(path: str) -> bool:
    return Path(path).exists()


async def _job(verdex: Verdex, given: str) -> Job:
    return await verdex.job(await naming.full_id(verdex, given))


@click.command(epilog=naming.HELP)
@click.argument("job_id", metavar="JOB")
@options.as_json
def trace(job_id: str, *, as_json: bool) -> None:
    """Draw where a job spent its time, and where it failed."""
    from verdex.telemetry import store, tree  # noqa: PLC0415  (slow to import)

    current = Session()
    job = current.run(lambda verdex: _job(verdex, job_id))
    spans = store.read(current.settings.traces_directory, job.trace_id or "")
    if as_json:
        output.show_document(tree.to_json(spans))
        return
    if not spans:
        page = current.pages(job).trace
        raise JobNotFound(
            f"no spans of job {job.job_id} are kept here (trace {job.trace_id})" + (f"; see {page}" if page else "")
        )
    width = shutil.get_terminal_size((100, 24)).columns
    output.show_rich(tree.render(spans, width), width)
