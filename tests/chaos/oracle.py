"""What a job may truthfully say, by the tree, by SQL and by Temporal's own command: no code is shared with verdex."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from tests.chaos.evidence import TERMINAL, Case, File, Index, digest
from tests.chaos.trees import Expected

EXIT_CODES: Final = {"completed": 0, "failed": 1, "cancelled": 3}
WORKFLOWS: Final = {
    "completed": {"COMPLETED"},
    "failed": {"FAILED", "TERMINATED", "TIMED_OUT"},
    "cancelled": {"CANCELED"},
}
"""How the workflow of a job may have ended."""
ENDED_FROM_OUTSIDE: Final = {"TERMINATED": "terminated", "CANCELED": "cancel"}
"""A job that was ended after it had published is completed, and its message has this word."""

Kind = Literal["lie", "stuck", "lost", "count"]


class Finding(NamedTuple):
    """Something that is wrong."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.kind}: {self.text}"


Findings = Iterator[Finding]


def judge(case: Case) -> list[Finding]:
    """All that is wrong with a job; nothing if it told the truth."""
    if case.row is None:
        return [Finding("lost", f"job {case.job_id} has no row: {case.complaint.strip()}")]
    if case.row["status"] not in TERMINAL:
        return [Finding("stuck", f"the row says {case.row['status']}: {case.row['status_message']}")]
    case = _as_seen(case)
    return [finding for check in CHECKS for finding in check(case, case.row or {})]


def _as_seen(case: Case) -> Case:
    """With one thing to expect of each path: of all that may have been seen of it, what the index says."""
    index = case.after.get(case.place)
    if index is None or not case.worlds:
        return case
    world = next((one for one in case.worlds if one.keys() == index.files.keys()), case.worlds[0])
    return case._replace(expected={path: _seen(path, index.files.get(path), every) for path, every in world.items()})


def _seen(path: str, file: File | None, every: Sequence[Expected]) -> Expected:
    return next((one for one in every if file is not None and not [*_file_is(path, file, one)]), every[0])


def surfaces_agree(case: Case, row: Mapping[str, object]) -> Findings:
    """The row, Temporal, the exit codes and what was printed say the same."""
    status = str(row["status"])
    if case.temporal not in WORKFLOWS[status] and not _published_first(case, row):
        yield Finding("lie", f"the row says {status}, Temporal says {case.temporal} ({row['status_message']})")
    for name, code in (("index", case.exit_code), ("status", case.status_exit_code)):
        if code is not None and code != EXIT_CODES[status]:
            yield Finding("lie", f"the row says {status}, verdex {name} exited with {code}")
    for name, told in (("index", case.told), ("status", case.status_told)):
        for key in told.keys() & row.keys():
            if not (_same(told[key], row[key]) or (key == "status_message" and _is_gone(case, told))):
                yield Finding("lie", f"the row says {key} = {row[key]!r}, verdex {name} says {told[key]!r}")


def absence_is_told(case: Case, row: Mapping[str, object]) -> Findings:
    """A job whose index is gone is not shown as if all were well."""
    if case.gone and row["status"] == "completed" and case.status_told and not _is_gone(case, case.status_told):
        yield Finding("lie", f"the index is gone, verdex status says {case.status_told['status_message']!r}")


def _is_gone(case: Case, told: Mapping[str, object]) -> bool:
    return bool(case.gone) and re.search(case.gone, str(told["status_message"])) is not None


def _published_first(case: Case, row: Mapping[str, object]) -> bool:
    word = ENDED_FROM_OUTSIDE.get(case.temporal)
    return word is not None and row["status"] == "completed" and word in str(row["status_message"])


def _same(told: object, stored: object) -> bool:
    if isinstance(stored, str | int | float | list | None):
        return told == stored
    return True  # times and ids are written differently


def end_is_allowed(case: Case, row: Mapping[str, object]) -> Findings:
    """A fault that can be lived through fails no job, and an end that was asked for is no other end."""
    if row["status"] not in case.ends:
        allowed = " or ".join(sorted(case.ends))
        yield Finding("lie", f"{row['status']} instead of {allowed}: {row['error_type']}: {row['error_message']}")


def failure_says_why(case: Case, row: Mapping[str, object]) -> Findings:
    """A failed job names the root cause; one that did not complete claims no index."""
    if row["status"] == "failed":
        for name in ("error_message", "error_type", "trace_id"):
            if not str(row[name] or "").strip():
                yield Finding("lie", f"failed without {name}")
        if not re.search(case.causes, str(row["error_message"])):
            yield Finding("lie", f"the message does not name the cause ({case.causes}): {row['error_message']}")
    if row["status"] != "completed":
        for name in ("files_indexed", "files_added", "files_changed", "files_deleted", "files_unchanged"):
            if row[name]:
                yield Finding("count", f"{row['status']}, but {name} = {row[name]}")


def failed_files_are_named(case: Case, row: Mapping[str, object]) -> Findings:
    """A job that could not index some files says how many, and which."""
    failed = [path for path, one in case.expected.items() if one.outcome == "failed"]
    if row["status"] != "completed" or not failed:
        return
    message = str(row["error_message"])
    if not re.match(rf"{len(failed)} of {len(case.expected)} files ", message) or not any(
        path in message for path in failed
    ):
        yield Finding("lie", f"{len(failed)} files failed, but the message says: {message}")


def events_are_in_order(case: Case, row: Mapping[str, object]) -> Findings:
    """First created, then forward in time, and nothing after the end."""
    names, times = [event["event"] for event in case.events], [event["at"] for event in case.events]
    if names[:1] != ["created"] or "created" in names[1:]:
        yield Finding("lie", f"the events do not begin with created, once: {names}")
    if times != sorted(times):
        yield Finding("lie", "the events are not in order of time")
    if TERMINAL.intersection(names[:-1]) or names[-1:] != [row["status"]]:
        yield Finding("lie", f"the row says {row['status']}, the events are {names}")


def one_job_for_one_request(case: Case, _row: Mapping[str, object]) -> Findings:
    """Starts of the same repository at the same time are one job."""
    if not case.new_jobs:
        yield Finding("lie", f"the command was told of {case.job_id}, a job that there was before it asked for one")
    elif case.new_jobs != {case.job_id}:
        yield Finding("lie", f"{len(case.new_jobs)} rows came for one job: {sorted(case.new_jobs)}")
    if case.claims - {case.job_id}:
        yield Finding("lie", f"starts while {case.job_id} ran were told of {sorted(case.claims)}")


def index_is_what_the_row_says(case: Case, row: Mapping[str, object]) -> Findings:
    """After a completed job the index is the tree, after any other it is what it was; other repositories never move."""
    for place in (case.before.keys() | case.after.keys()) - {case.place}:
        if case.before.get(place) != case.after.get(place):
            yield Finding("lost", f"the index of another repository, {place}, is not what it was")
    before, after = case.before.get(case.place), case.after.get(case.place)
    if row["status"] != "completed":
        if before != after:
            yield Finding("lost", f"{row['status']}, but the index is not what it was")
    elif after is None:
        yield Finding("lost", "completed, but there is no index")
    else:
        yield from _index_is_the_tree(after, case)
        if (after.job_id, after.generation) != (case.job_id, (before.generation if before else 0) + 1):
            yield Finding("lost", f"the index is generation {after.generation}, published by job {after.job_id}")


def _index_is_the_tree(index: Index, case: Case) -> Findings:
    for path in sorted(case.expected.keys() - index.files.keys()):
        yield Finding("lost", f"{path!r} is not in the index")
    for path in sorted(index.files.keys() - case.expected.keys()):
        yield Finding("lie", f"{path!r} is in the index, but should not be")
    for path in sorted(index.files.keys() & case.expected.keys()):
        yield from _file_is(path, index.files[path], case.expected[path])


def _file_is(path: str, file: File, expected: Expected) -> Findings:
    if file.outcome != expected.outcome:
        yield Finding("lie", f"{path!r} is {file.outcome}, but should be {expected.outcome}")
    elif file.outcome == "failed" and not re.search(expected.reason, file.reason):
        yield Finding("lie", f"{path!r} failed for another reason ({expected.reason}): {file.reason}")
    elif file.outcome == "indexed" and file.content_hash != hashlib.sha256(expected.content).digest():
        yield Finding("lie", f"{path!r} is indexed with another content")
    elif file.outcome == "indexed" and not _rebuilds(file, expected.content):
        yield Finding("lost", f"the chunks of {path!r} are not its lines")


def _rebuilds(file: File, content: bytes) -> bool:
    """Whether the chunks hold every line that is not blank, once and in its place, and nothing else."""
    lines = content.decode(errors="replace").split("\n")
    held: Counter[int] = Counter()
    for chunk in file.chunks:
        if "\n".join(lines[chunk.start_line - 1 : chunk.end_line]) != chunk.content:
            return False
        held.update(range(chunk.start_line, chunk.end_line + 1))
    return max(held.values(), default=0) == 1 and all(
        held[number] for number, line in enumerate(lines, 1) if line.strip()
    )


def counts_are_true(case: Case, row: Mapping[str, object]) -> Findings:
    """The numbers of a completed job are those that counting again gives."""
    index = case.after.get(case.place)
    if row["status"] != "completed" or index is None:
        return
    for name, true in _recounted(case, index).items():
        if row[name] != true:
            yield Finding("count", f"the row says {name} = {row[name]}, but it is {true}")


def _recounted(case: Case, index: Index) -> dict[str, object]:
    outcomes = Counter(one.outcome for one in case.expected.values())
    new = {
        path: hashlib.sha256(one.content).digest() for path, one in case.expected.items() if one.outcome == "indexed"
    }
    before = case.before.get(case.place)
    old = before.indexed if before else {}
    kept = new.keys() & old.keys()
    changed = sum(new[path] != old[path] for path in kept)
    return {
        "files_total": len(case.expected),
        "files_done": len(case.expected),
        "files_indexed": outcomes["indexed"],
        "files_skipped": outcomes["skipped"],
        "files_failed": outcomes["failed"],
        "files_added": len(new.keys() - old.keys()),
        "files_deleted": len(old.keys() - new.keys()),
        "files_changed": changed,
        "files_unchanged": len(kept) - changed,
        "chunks_total": index.chunks_total,
        "chunks_created": index.chunks_created,
        "result_status": "partial" if outcomes["failed"] else "success",
        "generation": index.generation,
        "manifest_digest": digest(case.expected),
    }


CHECKS: Final[tuple[Callable[[Case, Mapping[str, object]], Findings], ...]] = (
    surfaces_agree,
    absence_is_told,
    end_is_allowed,
    failure_says_why,
    failed_files_are_named,
    events_are_in_order,
    one_job_for_one_request,
    index_is_what_the_row_says,
    counts_are_true,
)
