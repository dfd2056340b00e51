"""How things are shown: JSON for programs, a few lines for people."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click
from pydantic import BaseModel

from verdex.contracts import FileOutcome, Job, JobEvent, JobStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLOURS: dict[JobStatus, str] = {
    "pending": "cyan",
    "running": "blue",
    "blocked": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}


def show_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """One JSON document on stdout."""
    if isinstance(value, BaseModel):
        click.echo(value.model_dump_json())
    else:
        show_document([item.model_dump(mode="json") for item in value])


def show_document(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value))


def show_rich(value: "RenderableType") -> None:
    """Something that rich draws, on stdout."""
    from rich.console import Console  # noqa: PLC0415  (slow to import)

    Console(soft_wrap=False).print(value)


def file_line(file: FileOutcome) -> str:
    """A file with what became of it."""
    reason = f"  ({file.reason})" if file.reason else ""
    return printable(f"{file.outcome:<8} {file.path}{reason}")


def printable(text: str) -> str:
    """In one line, and without what a terminal would obey: names of files and messages may hold anything."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def coloured(status: JobStatus) -> str:
    """The status in its colour."""
    return click.style(status, fg=_COLOURS[status], bold=True)


def plural(count: int, noun: str) -> str:
    """A number with its noun: `1 file`, `1,790 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float | None) -> str:
    """A span of time for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def local_time(time: datetime | None) -> str:
    """A time in the zone of the person who reads it."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def plain_headline(job: Job) -> str:
    """What became of a job, for the middle of a sentence."""
    return f"{job.status}: {summary}" if (summary := _summary(job)) else job.status


def headline(job: Job) -> str:
    """What became of a job, in one line."""
    return f"{coloured(job.status)}  {_summary(job)}".rstrip()


def _summary(job: Job) -> str:
    match job.status:
        case "completed":
            notes = {"partial": job.error_message, "note": job.status_message}
            return "\n".join([_completed(job), *(_note(name, text) for name, text in notes.items() if text)])
        case "failed":
            return printable(job.error_message or "")
        case _:
            progress = f"{job.files_done:,} of {plural(job.files_total, 'file')} done" if job.files_total else ""
            phase = "" if job.is_terminal else job.phase
            return printable("; ".join(filter(None, [phase, progress, job.status_message])))


def _note(name: str, text: str) -> str:
    return f"{click.style(name, fg='yellow')}  {printable(text)}"


def _completed(job: Job) -> str:
    held = f"{plural(job.files_indexed, 'file')}, {plural(job.chunks_total, 'chunk')} indexed"
    changes = {
        "added": job.files_added,
        "changed": job.files_changed,
        "deleted": job.files_deleted,
        "skipped": job.files_skipped,
        "failed": job.files_failed,
    }
    if not job.force_reindex and not (job.files_added or job.files_changed or job.files_deleted or job.files_failed):
        return f"nothing changed: {held} ({duration(job.duration_seconds)})"
    told = ", ".join(f"{count:,} {name}" for name, count in changes.items() if count)
    told = told or f"all {plural(job.files_indexed, 'file')} indexed anew"
    return f"{held} ({told}; {duration(job.duration_seconds)})"


def details(job: Job) -> str:
    """All that a person wants to know of one job."""
    rows = {
        "job": job.job_id,
        "repository": job.repo_path,
        "project": job.project_id,
        "started": local_time(job.started_at),
        "ended": local_time(job.completed_at),
        "took": duration(job.duration_seconds),
        "attempt": str(job.attempt) if job.attempt > 1 else "",
        "error type": job.error_type or "",
        "trace": job.trace_id or "",
        "workflow": job.workflow_id,
    }
    body = "\n".join(f"  {name:<11}{printable(value)}" for name, value in rows.items() if value)
    return f"{headline(job)}\n{body}"


def event_line(event: JobEvent) -> str:
    """Something that happened to a job, with its time of day to the millisecond."""
    at = event.at.astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]
    retry = f"attempt {event.attempt}" if event.attempt > 1 else ""
    return printable("  ".join(filter(None, [f"  {at}", f"{event.event:<9}", event.phase, retry, event.message])))


def listing(jobs: Sequence[Job]) -> str:
    """A line for each job; as wide as they need to be."""
    return "\n".join(
        f"{job.job_id}  {local_time(job.created_at)}  {coloured(job.status)}{' ' * (10 - len(job.status))}"
        + printable(f"{job.project_id}  {job.repo_path}  {_last_column(job)}")
        for job in jobs
    )


def _last_column(job: Job) -> str:
    if job.status == "completed":
        partial = f", {job.files_failed:,} failed" if job.result_status == "partial" else ""
        note = f"; {job.status_message}" if job.status_message else ""
        return f"{plural(job.files_indexed, 'file')}{partial}, {duration(job.duration_seconds)}{note}"
    return job.error_message or job.status_message or job.phase or ""
