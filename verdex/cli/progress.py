"""The live view of a job that runs: a bar on a terminal, a line for each change of phase elsewhere."""

import sys
from types import TracebackType
from typing import Final, Protocol, Self

import click

from verdex.cli.output import plural, printable
from verdex.cli.terminal import on_terminal
from verdex.contracts import Job, Phase

_DOING: Final[dict[Phase, str]] = {
    "preflight": "checking",
    "scan": "scanning",
    "index": "indexing",
    "publish": "publishing",
}


class ProgressLines:
    """For logs and pipes: a line whenever the phase or the reason of a block changes."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._last: tuple[str | None, ...] = ()
        self._notes: set[str] = set()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def show(self, job: Job) -> None:
        """Say what the job is doing, if that is new."""
        now = what_changes(job)
        if now != self._last and not job.is_terminal:
            self._last = now
            click.echo(f"verdex: {_doing(job)}", err=True)

    def note(self, text: str) -> None:
        """Say something that is not about the job itself, once."""
        if text not in self._notes:
            self._notes.add(text)
            click.echo(f"verdex: {text}", err=True)


class ProgressBar:
    """For a terminal: phase, bar, files done and total, rate and time left."""

    def __init__(self) -> None:
        """Draws on stderr, so that stdout holds only the result."""
        from rich.console import Console  # noqa: PLC0415  (slow to import, and not needed in a pipe)
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("for"),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("pending", total=None, rate="")
        self._notes: set[str] = set()

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._progress.stop()

    def show(self, job: Job) -> None:
        """Move the bar."""
        speed = self._progress.tasks[0].speed
        self._progress.update(
            self._task,
            description=_doing(job),
            completed=job.files_done,
            total=job.files_total or None,
            rate=f"{speed:,.0f} files/s" if speed else "",
        )

    def note(self, text: str) -> None:
        """Print a line above the bar, once."""
        if text not in self._notes:
            self._notes.add(text)
            self._progress.console.print(f"verdex: {text}", style="yellow", highlight=False, markup=False)


def what_changes(job: Job) -> tuple[str | None, ...]:
    """What is worth a line when it is new: progress within a phase is not, nor that the same is tried again."""
    return job.status, job.phase, job.status_message and job.status_message.split(" (attempt")[0]


class View(Protocol):
    """What shows a job while it is followed; entered before the first job, and left at the end."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def show(self, job: Job) -> None:
        """Show the job as it is now."""

    def note(self, text: str) -> None:
        """Show something that is not about the job itself."""


def progress() -> View:
    """The view that fits where stderr goes."""
    return ProgressBar() if on_terminal(sys.stderr) else ProgressLines()


def _doing(job: Job) -> str:
    if job.status in {"blocked", "pending"}:
        return f"{job.status}: {printable(job.status_message)}" if job.status_message else job.status
    if job.phase == "index" and job.files_total:
        return f"indexing {plural(job.files_total, 'file')}"
    return _DOING[job.phase] if job.phase else job.status
