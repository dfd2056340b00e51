"""Jobs shown again and again: in place on a terminal, elsewhere a line whenever something changes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, NoReturn, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from verdex.cli import output
from verdex.cli.details import details
from verdex.cli.naming import short
from verdex.cli.pages import Pages, PagesOf
from verdex.cli.progress import what_changes
from verdex.cli.table import jobs_table
from verdex.cli.terminal import on_terminal
from verdex.client import Verdex
from verdex.contracts import Job, JobEvent
from verdex.errors import TransientError

INTERVAL_SECONDS: Final = 2.0

Find = Callable[[Verdex], Awaitable[list[Job]]]


class ChangedJobs:
    """For logs and pipes: a line, or with JSON a document, for each change of a job."""

    def __init__(self, *, as_json: bool) -> None:
        """Nothing was said yet."""
        self._as_json = as_json
        self._last: dict[str, tuple[str | None, ...]] = {}
        self._noted = ""

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def show(self, job: Job) -> None:
        """Say how the job is now, if that is new."""
        if self._last.get(job.job_id) != (now := what_changes(job)):
            self._last[job.job_id] = now
            at = output.local_time(datetime.now(UTC))
            told = job.model_dump_json() if self._as_json else f"{at}  {short(job.job_id)}  {output.headline(job)}"
            click.echo(told)

    def show_all(self, jobs: Sequence[Job]) -> None:
        """Say which jobs are new or have changed, the newest last."""
        for job in reversed(jobs):
            self.show(job)

    def note(self, text: str) -> None:
        """Say something that is not about the job itself, once."""
        if text != self._noted:
            self._noted = text
            click.echo(f"verdex: {text}", err=True)


class LiveJobs:
    """For a terminal: the job, or the table of jobs, drawn in place."""

    def __init__(
        self, pages: PagesOf, *, events: Sequence[JobEvent] = (), transient: bool, console: Console | None = None
    ) -> None:
        """Draw on stdout, or on `console`; if transient, no drawing is left.

        `pages` tells where a job can be looked at, `events` how it was held up before.
        """
        self._pages = pages
        self._blocks = list(events)
        self._console = console or Console()
        self._table: Table | None = None
        self._live = Live(console=self._console, transient=transient, refresh_per_second=8)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was, but for the table, if that stays."""
        if self._table:
            self._live.update(self._table)
        self._live.stop()

    def show(self, job: Job) -> None:
        """Draw the job."""
        if job.status != "blocked":
            self._blocks.clear()
        elif not self._blocks or self._blocks[-1].message != job.status_message:
            self._blocks.append(JobEvent(at=datetime.now(UTC), event="blocked", message=job.status_message))
        pages = self._pages(job)
        self._live.update(Group(*(_drawn(line, pages) for line in details(job, self._blocks, pages).split("\n"))))

    def show_all(self, jobs: Sequence[Job]) -> None:
        """Draw the table."""
        told = f"{datetime.now(UTC).astimezone():%H:%M:%S}, every {INTERVAL_SECONDS:g} s; Ctrl-C ends this"
        self._table = jobs_table(jobs, self._console.width, self._pages)
        self._live.update(Group(self._table, Text(told, style="dim")), refresh=True)

    def note(self, text: str) -> None:
        """Draw it instead."""
        self._live.update(Text(f"verdex: {output.printable(text)}", style="yellow"))


def _drawn(line: str, pages: Pages) -> Text:
    """Rich breaks a line where the terminal ends, and so an address would lead nowhere: it is cut, and is a link."""
    drawn = Text.from_ansi(line)
    for page in filter(None, pages):
        if drawn.highlight_words([page], Style(link=page)):
            drawn.no_wrap, drawn.overflow = True, "ellipsis"
    return drawn


JobsView = ChangedJobs | LiveJobs


def view(pages: PagesOf, *, as_json: bool, transient: bool, events: Sequence[JobEvent] = ()) -> JobsView:
    """The view that fits where stdout goes."""
    if on_terminal() and not as_json:
        return LiveJobs(pages, events=events, transient=transient)
    return ChangedJobs(as_json=as_json)


async def watch(find: Find, shown: JobsView) -> NoReturn:
    """Show the jobs that `find` finds until Ctrl-C; what does not answer is waited for."""
    with shown:
        while True:
            try:
                async with await Verdex.connect() as verdex:
                    shown.show_all(await find(verdex))
            except TransientError as error:
                shown.note(f"{error}; trying again")
            await asyncio.sleep(INTERVAL_SECONDS)
