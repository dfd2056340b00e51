"""What the Web UI of Temporal tells of a job, in its Markdown. There, the id of the job is that of the run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from verdex.contracts import TERMINAL, IndexRequest, IndexResult, JobState, Phase

_SUMMARY_PATH: Final = 40
"""Characters of a path, each of which may take four of the 200 bytes that a summary can have."""
_PHASES: Final[dict[Phase, str]] = {
    "preflight": "checking the repository and the database of the project",
    "scan": "listing the files",
    "index": "indexing the files",
    "publish": "publishing",
}


@dataclass(frozen=True)
class Progress:
    """How much of the work is done."""

    shards: int = 0
    shards_done: int = 0


def summary(request: IndexRequest) -> str:
    """One line; of a long path, the end."""
    return f"Index {request.repo_path[-_SUMMARY_PATH:]}"


def details(request: IndexRequest) -> str:
    """What was asked for, and how to learn more."""
    again = " Every file is indexed again." if request.force_reindex else ""
    return (
        f"Index the repository {code(request.repo_path)} into the project {code(request.project_id)}.{again}\n"
        "The run id is the id of the job: `verdex status ID` tells how it is, `verdex trace ID` where its time went "
        "and what failed, `verdex files ID` what became of each file."
    )


def current_details(state: JobState, progress: Progress, result: IndexResult | None) -> str:
    """How a job is now, and what it counted when it ended."""
    return "\n".join(_lines(state, progress, result))


def _lines(state: JobState, progress: Progress, result: IndexResult | None) -> Iterator[str]:
    phase = None if state.status in TERMINAL else state.phase
    yield f"**{state.status}**: {_PHASES[phase]}" if phase else f"**{state.status}**"
    if state.status_message:
        yield code(state.status_message)
    if result is not None:
        yield from _outcome(result)
    elif phase in {"index", "publish"}:
        yield f"{state.files_total:,} files, {progress.shards_done:,} of {progress.shards:,} shards indexed"


def _outcome(result: IndexResult) -> Iterator[str]:
    if result.error_message:
        yield code(f"{result.error_type}: {result.error_message}" if result.error_type else result.error_message)
    if result.status != "failed":
        yield (
            f"{result.files_indexed:,} of {result.files_total:,} files indexed"
            f" ({result.files_added:,} added, {result.files_changed:,} changed, {result.files_unchanged:,} unchanged),"
            f" {result.files_skipped:,} skipped, {result.files_failed:,} failed, {result.chunks_total:,} chunks"
        )


def code(value: str) -> str:
    """`value` in one line, as it is: elsewhere, Markdown also changes quotes, dashes and underscores.

    >>> code("/srv/`odd` name")
    '`` /srv/`odd` name ``'
    """
    fence = "`" * (max(map(len, re.findall("`+", value)), default=0) + 1)
    padding = " " if "`" in value else ""
    return f"{fence}{padding}{' '.join(value.split())}{padding}{fence}"
