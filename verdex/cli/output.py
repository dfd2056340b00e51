"""How things are shown: JSON for programs, a few lines for people."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
from pydantic import BaseModel

from verdex.cli.terminal import styled
from verdex.contracts import FileOutcome, Job, JobStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS: Final[dict[JobStatus, str]] = {
    "pending": "cyan",
    "running": "blue",
    "blocked": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
_JUST_NOW: Final = 5


def show_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """One JSON document on stdout."""
    if isinstance(value, BaseModel):
        click.echo(value.model_dump_json())
    else:
        show_document([item.model_dump(mode="json") for item in value])


def show_document(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value))


def show_rich(value: "RenderableType", width: int) -> None:
    """Something that rich draws, on stdout."""
    from rich.console import Console  # noqa: PLC0415  (slow to import)

    Console(width=width, soft_wrap=False).print(value)


def file_line(file: FileOutcome) -> str:
    """A file with what became of it."""
    reason = f"  ({file.reason})" if file.reason else ""
    return printable(f"{file.outcome:<8} {file.path}{reason}")


def printable(text: str) -> str:
    """In one line, and without what a terminal would obey: names of files and messages may hold anything."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def coloured(status: JobStatus) -> str:
    """The status in its colour."""
    return styled(status, colour=COLOURS[status], bold=True)


def plural(count: int, noun: str) -> str:
    """A number with its noun: `1 file`, `1,790 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float | None) -> str:
    """A span of time for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes} min {rest} s"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def local_time(time: datetime | None) -> str:
    """A time in the zone of the person who reads it."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def short_time(time: datetime) -> str:
    """As `local_time`, in 8 to 12 characters: of today the time of day, of this year the day."""
    time, today = time.astimezone(), datetime.now(UTC).astimezone()
    if time.date() == today.date():
        return time.strftime("%H:%M:%S")
    return time.strftime("%b %d %H:%M") if time.year == today.year else time.strftime("%Y-%m-%d")


def time_ago(time: datetime | None) -> str:
    """A time, and how long ago that was."""
    return f"{local_time(time)} ({ago(time)})" if time else ""


def ago(time: datetime) -> str:
    """How long ago a time was, for people."""
    seconds = seconds_since(time)
    return "just now" if seconds < _JUST_NOW else f"{duration(seconds)} ago"


def seconds_since(time: datetime) -> float:
    """How long ago it was; negative for what is to come, by the clock of this machine."""
    return (datetime.now(UTC) - time).total_seconds()


def plain_headline(job: Job) -> str:
    """What became of a job, for the middle of a sentence."""
    return f"{job.status}: {summary}" if (summary := _summary(job)) else job.status


def headline(job: Job) -> str:
    """What became of a job, in one line."""
    return f"{coloured(job.status)}  {_summary(job)}".rstrip()


def progress_of(job: Job) -> str:
    """The phase of a job under way, and how far it is."""
    done = f"{job.files_done:,} of {plural(job.files_total, 'file')} done" if job.files_total else ""
    return "; ".join(filter(None, ["" if job.is_terminal else job.phase, done]))


def _summary(job: Job) -> str:
    match job.status:
        case "completed":
            notes = {"partial": job.error_message, "note": job.status_message}
            return "\n".join([_completed(job), *(_note(name, text) for name, text in notes.items() if text)])
        case "failed":
            return printable(job.error_message or "")
        case _:
            return printable("; ".join(filter(None, [progress_of(job), job.status_message])))


def _note(name: str, text: str) -> str:
    return f"{styled(name, colour='yellow')}  {printable(text)}"


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
