"""The spans of every job on disk, so that `verdex trace` works without a tracing backend.

One file a trace, `<trace_id>.jsonl`, a line a span: the format of OpenTelemetry's own file exporter, so that
a collector can read it. Several processes append to one file; what cannot be kept is dropped, for a job must
never wait for, or fail with, its telemetry.
"""

import errno
import itertools
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from verdex.telemetry.otlp import StoredEvent, StoredSpan, decode, encode, from_sdk

__all__ = ["Limits", "SpanStore", "StoredEvent", "StoredSpan", "prune", "read"]

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_PRUNE_EVERY = 100  # batches


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store holds at most; the newest traces stay."""

    traces: int = 1_000
    age_days: float = 30
    total_bytes: int = 512 * 2**20
    trace_bytes: int = 16 * 2**20  # some 10,000 spans
    error_bytes: int = 2**20  # on top of `trace_bytes`, for the roots and the errors, which end last


class SpanStore(SpanExporter):
    """Exporter that appends finished spans to the files of their traces."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        """Touch nothing yet: the directory is made, readable by its owner only, when the first span comes."""
        self._directory = directory
        self._limits = limits or Limits()
        self._batches = itertools.count()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep the spans; raises OSError where that is impossible."""
        try:
            self._keep(spans)
        except OSError as error:
            error.filename = error.filename or str(self._directory)
            raise
        return SpanExportResult.SUCCESS

    def _keep(self, spans: Sequence[ReadableSpan]) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for trace_id, of_trace in _by_trace(spans).items():
            _append(_path(self._directory, trace_id), of_trace, self._limits)
        if next(self._batches) % _PRUNE_EVERY == 0:
            prune(self._directory, self._limits)


def read(directory: Path, trace_id: str) -> list[StoredSpan]:
    """Give the spans of a trace by start time; none if the trace is not kept. Torn lines are left out.

    Raises OSError if the file is there but cannot be read.
    """
    if not _TRACE_ID.fullmatch(trace_id):
        return []
    try:
        content = _path(directory, trace_id).read_bytes()
    except FileNotFoundError:
        return []
    # A workflow task that is tried again ends its spans again, with the same ids.
    spans = {span.span_id: span for line in content.splitlines() for span in _spans_of(line)}
    return sorted(spans.values(), key=lambda span: span.start_ns)


def prune(directory: Path, limits: Limits) -> None:
    """Delete the traces beyond the limits, the longest untouched first."""
    oldest = time.time() - limits.age_days * 86_400
    total_bytes = 0
    for rank, (modified, size, path) in enumerate(sorted(_trace_files(directory), reverse=True)):
        total_bytes += size
        if rank >= limits.traces or modified < oldest or total_bytes > limits.total_bytes:
            path.unlink(missing_ok=True)


def _path(directory: Path, trace_id: str) -> Path:
    return directory / f"{trace_id}.jsonl"


def _by_trace(spans: Iterable[ReadableSpan]) -> dict[str, list[StoredSpan]]:
    traces: dict[str, list[StoredSpan]] = defaultdict(list)
    for span in map(from_sdk, spans):
        traces[span.trace_id].append(span)
    return traces


def _append(path: Path, spans: Iterable[StoredSpan], limits: Limits) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        lines = b"\n" * torn + b"".join(_lines_that_fit(spans, size, limits))
        # One write, which O_APPEND keeps in one piece beside the writes of other processes.
        if os.write(descriptor, lines) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _lines_that_fit(spans: Iterable[StoredSpan], size: int, limits: Limits) -> Iterator[bytes]:
    for span in spans:
        line = _line(span)
        matters = span.parent_span_id is None or span.status == "error"
        if size + len(line) <= limits.trace_bytes + limits.error_bytes * matters:
            size += len(line)
            yield line


def _line(span: StoredSpan) -> bytes:
    text = json.dumps(encode([span]), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", errors="replace") + b"\n"


def _spans_of(line: bytes) -> list[StoredSpan]:
    try:
        return list(decode(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return []


def _trace_files(directory: Path) -> Iterator[tuple[float, int, Path]]:
    for path in directory.glob("*.jsonl"):
        if _TRACE_ID.fullmatch(path.stem):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process prunes as well
                continue
            yield stat.st_mtime, stat.st_size, path
