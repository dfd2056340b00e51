"""Jobs as a table: a row each, as wide as the terminal; where there is none, as wide as they need to be."""

import io
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from verdex.cli import naming, output
from verdex.cli.pages import Pages, PagesOf
from verdex.contracts import Job

_UNCUT: Final = 1_000_000
_FULL_IDS: Final = 120
"""On a terminal of so many columns, ids are whole."""
_WITH_TIMES: Final = 72
_WITH_START: Final = 56


class Cut:
    """A text in one line, of which an ellipsis takes the place of what has no room: at the end, or at the beginning."""

    def __init__(self, text: str, *, keep_end: bool = False) -> None:
        """Of a path, `keep_end`: there it says most."""
        self._text = output.printable(text)
        self._keep_end = keep_end

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """It can be as narrow as one cell."""
        return Measurement(1, max(cell_len(self._text), 1)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what there is room for."""
        yield Segment(self._within(options.max_width))

    def _within(self, width: int) -> str:
        if cell_len(self._text) <= width:
            return self._text
        if not self._keep_end:
            return set_cell_size(self._text, width - 1).rstrip() + "…"
        return "…" + set_cell_size(self._text[::-1], width - 1).rstrip()[::-1]


def jobs_table(jobs: Sequence[Job], width: int | None, pages: PagesOf | None = None) -> Table:
    """The jobs as rich draws them; `width` is that of the terminal, None where there is none.

    On a terminal, an id is a link to the Web UI where `pages` know it.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    columns = [name for name in _COLUMNS if _is_shown(name, jobs, width)]
    for name in columns:
        table.add_column(name, no_wrap=name not in _FLEXIBLE, justify="right" if name == "took" else "left")
    for job in jobs:
        cells = _cells(job, width, pages(job) if pages else Pages())
        table.add_row(*(cells[name] for name in columns))
    return table


def text(jobs: Sequence[Job]) -> str:
    """The table for pipes and files: a line a job, whole; without colours, unless FORCE_COLOR asks for them."""
    console = Console(file=io.StringIO(), width=_UNCUT)
    with console.capture() as captured:
        console.print(jobs_table(jobs, None), crop=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


_COLUMNS: Final = ("job", "started", "status", "took", "project", "repository", "result")
_FLEXIBLE: Final = frozenset({"repository", "result"})


def _is_shown(name: str, jobs: Sequence[Job], width: int | None) -> bool:
    match name:
        case "project":
            return width is None or len({job.project_id for job in jobs}) > 1
        case "took":
            return width is None or width >= _WITH_TIMES
        case "started":
            return width is None or width >= _WITH_START
        case _:
            return True


def _cells(job: Job, width: int | None, pages: Pages) -> dict[str, Text | Cut]:
    whole_id, uncut = width is None or width >= _FULL_IDS, width is None
    return {
        "job": Text(job.job_id if whole_id else naming.short(job.job_id), style=Style(link=pages.web_ui)),
        "started": Text(output.local_time(job.created_at) if uncut else output.short_time(job.created_at)),
        "status": Text(job.status, style=f"bold {output.COLOURS[job.status]}"),
        "took": Text(_took(job)),
        "project": Text(output.printable(job.project_id)),
        "repository": Cut(job.repo_path, keep_end=True),
        "result": Cut(_result(job) if uncut else _result(job).removeprefix(f"{job.repo_path} ")),
    }


def _took(job: Job) -> str:
    """Of a job under way, how long it has taken so far."""
    if job.is_terminal:
        return output.duration(job.duration_seconds)
    return output.duration(output.seconds_since(job.started_at)) if job.started_at else ""


def _result(job: Job) -> str:
    if job.status == "completed":
        partial = f", {job.files_failed:,} failed" if job.result_status == "partial" else ""
        note = f"; {job.status_message}" if job.status_message else ""
        return f"{output.plural(job.files_indexed, 'file')}{partial}{note}"
    return job.error_message or job.status_message or output.progress_of(job)
