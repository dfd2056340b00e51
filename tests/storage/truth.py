"""What the row of a job may truthfully say, from the truth rules of the design alone: nothing here is read off the SQL.

A row is a mapping of its columns; times are seconds after the job was created, for all of a job's life is short.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from verdex.contracts import IndexResult, JobRecord

Row = dict[str, Any]

TERMINAL: Final = {"completed", "failed", "cancelled"}
WAYS: Final = {
    "pending": {"pending", "running", "failed", "cancelled"},
    "running": {"running", "blocked", "completed", "failed", "cancelled"},
    "blocked": {"blocked", "running", "failed", "cancelled"},
}
OF_THE_INDEX: Final = (
    "files_added", "files_changed", "files_deleted", "files_unchanged", "chunks_created", "chunks_total",
)  # fmt: skip
COUNTS: Final = ("files_total", "files_done", "files_indexed", "files_skipped", "files_failed", *OF_THE_INDEX)
TIMES: Final = ("created_at", "started_at", "completed_at")
TOLD: Final = ("status", "phase", "attempt", "status_message")
"""What an event tells of a row."""
NEW: Final[Row] = {
    "status": "pending", "result_status": None, "status_message": None, "phase": None, "error_message": None,
    "error_type": None, "errors": [], "attempt": 1, "revision": 0, "generation": None, "manifest_digest": None,
    "created_at": 0.0, "started_at": None, "completed_at": None, **dict.fromkeys(COUNTS, 0),
}  # fmt: skip
REQUIRED: Final = ("status", "errors", "attempt", "revision", "created_at", *COUNTS)


def says(text: str | None) -> bool:
    """Whether there is anything to read."""
    return bool(text and text.strip())


def is_completed(row: Row) -> bool:
    return bool(row["status"] == "completed")


def has_ended(row: Row) -> bool:
    return row["status"] in TERMINAL


def _in_order(row: Row) -> bool:
    known = [row[name] for name in TIMES if row[name] is not None]
    return all(abs(time) != float("inf") for time in known) and known == sorted(known)


def _fits_its_result(row: Row) -> bool:
    """Of a completed job."""
    if row["files_failed"] == 0:
        silent = (row["error_message"], row["error_type"], row["errors"]) == (None, None, [])
        return bool(row["result_status"] == "success" and silent)
    told = says(row["error_message"]) and says(row["error_type"]) and bool(row["errors"])
    return bool(row["result_status"] == "partial" and told)


def _adds_up(row: Row) -> bool:
    """Of a completed job."""
    indexed = row["files_added"] + row["files_changed"] + row["files_unchanged"]
    outcomes = row["files_indexed"] + row["files_skipped"] + row["files_failed"]
    return bool(row["files_indexed"] == indexed and row["files_total"] == row["files_done"] == outcomes)


def _is_published(row: Row) -> bool:
    digest = row["manifest_digest"] or ""
    return bool((row["generation"] or 0) > 0 and re.fullmatch("[0-9a-f]{64}", digest) and row["files_indexed"] > 0)


def _claims_no_index(row: Row) -> bool:
    nothing = (row["generation"], row["manifest_digest"]) == (None, None)
    return nothing and not any(row[name] for name in ("files_indexed", *OF_THE_INDEX))


TRUTHS: Final[dict[str, Callable[[Row], bool]]] = {
    "what must be there is there": lambda row: all(row[name] is not None for name in REQUIRED),
    "words are those of the contract": lambda row: (
        row["status"] in WAYS.keys() | TERMINAL
        and row["result_status"] in {None, "success", "partial", "failed"}
        and row["phase"] in {None, "preflight", "scan", "index", "publish"}
        and None not in row["errors"]
    ),
    "counts count": lambda row: all(row[name] >= 0 for name in COUNTS) and row["attempt"] >= 1,
    "times are in order": _in_order,
    "an end has a time": lambda row: has_ended(row) == (row["completed_at"] is not None),
    "what was under way has begun": lambda row: (
        row["status"] in {"pending", "failed", "cancelled"} or row["started_at"] is not None
    ),
    "blocked says why": lambda row: row["status"] != "blocked" or says(row["status_message"]),
    "failed says why": lambda row: (
        row["status"] != "failed"
        or (row["result_status"] == "failed" and says(row["error_message"]) and says(row["error_type"]))
    ),
    "a result is that of an end": lambda row: row["result_status"] is None or row["status"] in {"completed", "failed"},
    "an error is that of an end": lambda row: (
        has_ended(row) or (row["error_message"], row["error_type"], row["errors"]) == (None, None, [])
    ),
    "no more than all": lambda row: (
        row["files_done"] <= row["files_total"] and row["files_skipped"] + row["files_failed"] <= row["files_total"]
    ),
    "completed is published, and nothing else is": lambda row: (
        _is_published(row) if is_completed(row) else _claims_no_index(row)
    ),
    "completed adds up": lambda row: not is_completed(row) or _adds_up(row),
    "completed says what is missing": lambda row: not is_completed(row) or _fits_its_result(row),
}  # fmt: skip


def lie(row: Row) -> str | None:
    """The first truth that the row offends against."""
    return next((name for name, holds in TRUTHS.items() if not holds(row)), None)


def may_begin(row: Row) -> bool:
    """Whether a row can be created as this one."""
    return lie(row) is None and row["status"] == "pending"


def may_become(row: Row, new: Row) -> bool:
    """Whether a row can be changed into another."""
    if has_ended(row) or lie(new) is not None or new["status"] not in WAYS[row["status"]]:
        return False
    # Its only event is that it was created: nothing else can be said to have happened to it.
    return new["status"] != "pending" or all(row[name] == new[name] for name in TOLD)


def recorded(row: Row, record: JobRecord) -> Row:
    """What a record that is not too late makes of the row of a job that has not ended, true or not."""
    state, result = record.state, record.result
    times = {"started_at": _seconds(record, "started_at"), "completed_at": None}
    if state.status not in TERMINAL:
        told = {name: getattr(state, name) for name in TOLD}
        return row | told | times | {
            "revision": record.revision, "files_total": max(row["files_total"], state.files_total),
        }  # fmt: skip
    if record.completed_at is not None:
        times["completed_at"] = max(_seconds(record, "completed_at"), _seconds(record, "started_at"))
    return row | times | _ending(row, state.status, result) | {
        "revision": record.revision, "status": state.status, "status_message": state.status_message,
        "phase": state.phase or row["phase"],
    }  # fmt: skip


def _ending(row: Row, status: str, result: IndexResult | None) -> Row:
    """Only of a published index can counts be told; of another end, what the scan saw."""
    told = result.model_dump() if result else {}
    counts = {name: told.get(name, 0) for name in COUNTS}
    total = counts["files_total"]
    if status == "completed":
        counts["files_done"] = total
    else:
        counts |= dict.fromkeys(("files_indexed", *OF_THE_INDEX), 0)
        counts |= {"files_done": row["files_done"], "files_total": max(row["files_total"], total)}
        told |= {"generation": None, "manifest_digest": None}
    return counts | {
        "generation": told.get("generation"),
        "manifest_digest": told.get("manifest_digest"),
        "result_status": told.get("status"),
        "error_message": result.error_message if result else None,
        "error_type": told.get("error_type"),
        "errors": list(told.get("errors", [])),
    }


def _seconds(record: JobRecord, name: str) -> float:
    return float((getattr(record, name) - record.identity.created_at).total_seconds())
