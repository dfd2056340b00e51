"""Every metric of verdex, by its name and help; Temporal's runtime serves them beside its own.

What a worker itself did is added up over the workers: `sum`. What is read of the registry and of Temporal is the same
at every worker: `max`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from temporalio.common import MetricMeter

from verdex import __version__
from verdex.contracts import JobStatus
from verdex.storage.observation import Ended, PhaseTime, ProjectHealth, Unfinished

NAMED_ERROR_TYPES: Final = 64
"""So many types of errors, the first that come, are told apart; a bug may have any name."""
OTHER: Final = "other"

_JOB_BUCKETS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 7200)
BUCKETS: Final[Mapping[str, Sequence[float]]] = {
    "verdex_job_duration_seconds": _JOB_BUCKETS,
    "verdex_phase_duration_seconds": _JOB_BUCKETS,
    "verdex_shard_duration_seconds": (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
}
"""Upper bounds in seconds, by the name of the histogram."""


class WorkMetrics:
    """What this worker did."""

    def __init__(self, meter: MetricMeter) -> None:
        """The counters are there from the beginning, so that the first increase is seen as one."""
        self._read = meter.create_counter("verdex_read_bytes", "Bytes of text that this worker read of source trees.")
        self._shard = meter.create_histogram_float(
            "verdex_shard_duration_seconds", "Time that this worker took to index a shard."
        )
        self._read.add(0)
        meter.create_gauge("verdex_build_info", "1, with the version of this worker.").set(1, {"version": __version__})

    def batch(self, read_bytes: int) -> None:
        """A part of a shard was indexed."""
        self._read.add(read_bytes)

    def shard(self, seconds: float) -> None:
        """A shard was indexed."""
        self._shard.record(seconds)


class EndMetrics:
    """What became of jobs, whoever ended them, since this worker started."""

    def __init__(self, meter: MetricMeter) -> None:
        """The counters are there from the beginning, so that the first increase is seen as one."""
        self._jobs = meter.create_counter("verdex_jobs", "Jobs that ended since this worker started, by any worker.")
        self._reconciled = meter.create_counter(
            "verdex_jobs_reconciled", "Those of the jobs that ended whose workflow had not recorded it."
        )
        self._zero_files = meter.create_counter(
            "verdex_completed_zero_files", "Jobs that are completed without a file: a lie, so this stays 0."
        )
        self._files = meter.create_counter("verdex_files", "Files of the jobs that ended, by their outcome.")
        self._chunks = meter.create_counter("verdex_chunks_created", "Chunks that the jobs that ended wrote.")
        self._duration = meter.create_histogram_float("verdex_job_duration_seconds", "Time from start to end of a job.")
        self._phase = meter.create_histogram_float(
            "verdex_phase_duration_seconds", "Time that a job that ended was in a phase, also while blocked."
        )
        self._error_types = set[str]()
        for counter in (self._reconciled, self._zero_files, self._chunks):
            counter.add(0)
        for outcome in ("indexed", "skipped", "failed"):
            self._files.add(0, {"outcome": outcome})
        for status in ("completed", "cancelled"):
            self.known(status, None)

    def known(self, status: JobStatus, error_type: str | None) -> None:
        """Jobs have ended so: the counter is there, so that its next increase is seen as one."""
        self._jobs.add(0, self._end(status, error_type))

    def ended(self, job: Ended, *, reconciled: bool) -> None:
        """A job ended."""
        self._jobs.add(1, self._end(job.status, job.error_type))
        self._reconciled.add(int(reconciled))
        self._zero_files.add(int(is_empty(job)))
        self._files.add(job.files_indexed, {"outcome": "indexed"})
        self._files.add(job.files_skipped, {"outcome": "skipped"})
        self._files.add(job.files_failed, {"outcome": "failed"})
        self._chunks.add(job.chunks_created)
        if job.duration_seconds is not None:
            self._duration.record(job.duration_seconds, {"status": job.status})

    def phase(self, time: PhaseTime) -> None:
        """A job that ended was in a phase."""
        self._phase.record(time.seconds, {"phase": time.phase})

    def _end(self, status: JobStatus, error_type: str | None) -> dict[str, str]:
        if error_type and len(self._error_types) < NAMED_ERROR_TYPES:
            self._error_types.add(error_type)
        named = not error_type or error_type in self._error_types
        return {"status": status, "error_type": (error_type or "") if named else OTHER}


def is_empty(job: Ended) -> bool:
    """Whether a job claims to be completed, and to have indexed nothing."""
    return job.status == "completed" and job.files_indexed == 0


class StateMetrics:
    """How jobs and repositories are now."""

    def __init__(self, meter: MetricMeter) -> None:
        """There is no value before the first reading."""
        self._unfinished = meter.create_gauge("verdex_unfinished_jobs", "Jobs that have not ended, by their status.")
        self._queue_age = meter.create_gauge_float(
            "verdex_queue_age_seconds", "Age of the oldest job that no worker has taken up; 0 if there is none."
        )
        self._blocked_age = meter.create_gauge_float(
            "verdex_blocked_age_seconds", "How long the job that is blocked for longest has been; 0 if there is none."
        )
        self._oldest_success = meter.create_gauge_float(
            "verdex_oldest_success_timestamp_seconds",
            "Of the repository of a project whose last success is longest ago: when that was.",
        )
        self._failing = meter.create_gauge(
            "verdex_failing_repositories", "Repositories of a project that failed since their last success."
        )
        self._failing_since = meter.create_gauge_float(
            "verdex_failing_since_timestamp_seconds",
            "First failure since its last success of the repository that fails for longest; NaN if none does.",
        )
        self._observed = meter.create_gauge_float(
            "verdex_observed_timestamp_seconds", "When this worker last read what these metrics tell, by where."
        )
        self._projects = set[str]()

    def rows(self, found: Unfinished) -> None:
        """What the registry says of jobs that have not ended."""
        self._unfinished.set(found.running, {"status": "running"})
        self._unfinished.set(found.blocked, {"status": "blocked"})
        self._blocked_age.set(found.blocked_age)

    def queue(self, pending: int, age: float) -> None:
        """How many jobs wait for a worker, and for how many seconds at most."""
        self._unfinished.set(pending, {"status": "pending"})
        self._queue_age.set(age)

    def projects(self, found: Sequence[ProjectHealth]) -> None:
        """How each project is. A series cannot be taken back: that of a project which is dropped becomes NaN."""
        dropped = self._projects - {health.project_id for health in found}
        for health in (*found, *(ProjectHealth(name, None, None, 0) for name in dropped)):
            labels = {"project": health.project_id}
            self._oldest_success.set(_or_nan(health.oldest_success), labels)
            self._failing_since.set(_or_nan(health.failing_since), labels)
            self._failing.set(health.failing, labels)
        self._projects.update(health.project_id for health in found)

    def observed(self, source: str, at: float) -> None:
        """`source` was read at `at`, in seconds since 1970."""
        self._observed.set(at, {"source": source})


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
