"""One job with all that a person wants to know of it."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby, takewhile
from typing import Final

from verdex.cli.naming import short
from verdex.cli.output import duration, headline, local_time, printable, seconds_since, time_ago
from verdex.cli.pages import Pages
from verdex.contracts import Job, JobEvent

_NEXT_TRY: Final = re.compile(r" \(attempt (\d+) in ([\d.e+]+) s\)$")
_WAITED: Final = 1.0


def details(job: Job, events: Sequence[JobEvent] = (), pages: Pages = Pages()) -> str:  # noqa: B008  (immutable)
    """The job, of which `events` tell how long it is held up."""
    rows = {
        "next try": _next_try(job, events),
        "held up": _held_up(job, events),
        "error type": job.error_type or "",
        "job": job.job_id,
        "repository": job.repo_path,
        "project": job.project_id,
        "asked for": time_ago(job.created_at) if _has_waited(job) else "",
        "started": time_ago(job.started_at),
        "ended": local_time(job.completed_at),
        "took": duration(job.duration_seconds),
        "attempt": str(job.attempt) if job.attempt > 1 and job.status != "blocked" else "",
        "workflow": job.workflow_id,
        "trace": f"{job.trace_id}  (verdex trace {short(job.job_id)})" if job.trace_id else "",
        "trace page": pages.trace or "",
        "Web UI": pages.web_ui or "",
    }
    body = "\n".join(f"  {name:<11}{printable(value)}" for name, value in rows.items() if value)
    return f"{headline(_without_next_try(job))}\n{body}"


def event_lines(events: Sequence[JobEvent]) -> Iterator[str]:
    """What happened to a job; of many attempts that were held up alike, the first and the last."""
    for _, alike in groupby(events, _kind):
        first, *others = alike
        yield _line(first)
        if len(others) > 1:
            yield f"  … {len(others) - 1:,} more like it"
        yield from map(_line, others[-1:])


def _kind(event: JobEvent) -> object:
    return (event.phase, _NEXT_TRY.sub("", event.message or "")) if event.event == "blocked" else event


def _line(event: JobEvent) -> str:
    """With its time of day to the millisecond."""
    at = event.at.astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]
    retry = f"attempt {event.attempt}" if event.attempt > 1 else ""
    return printable("  ".join(filter(None, [f"  {at}", f"{event.event:<9}", event.phase, retry, event.message])))


def _has_waited(job: Job) -> bool:
    return job.started_at is None or (job.started_at - job.created_at).total_seconds() > _WAITED


def _without_next_try(job: Job) -> Job:
    """When it is tried again is a row of its own: the message says how long that was away when it was written."""
    if job.status != "blocked" or not job.status_message:
        return job
    return job.model_copy(update={"status_message": _NEXT_TRY.sub("", job.status_message)})


def _next_try(job: Job, events: Sequence[JobEvent]) -> str:
    found = _NEXT_TRY.search(job.status_message or "") if job.status == "blocked" else None
    if found is None:
        return ""
    told = next((event.at for event in reversed(events) if event.message == job.status_message), None)
    if told is None:
        return f"attempt {found[1]}, {found[2]} s after the last"
    at = told + timedelta(seconds=float(found[2]))
    left = -seconds_since(at)
    return f"attempt {found[1]}, {f'in {duration(left)}, at' if left > 0 else 'due since'} {local_time(at)}"


def _held_up(job: Job, events: Sequence[JobEvent]) -> str:
    blocks = list(takewhile(lambda event: event.event == "blocked", reversed(events)))
    return f"since {time_ago(blocks[-1].at)}" if job.status == "blocked" and blocks else ""
