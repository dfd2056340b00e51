"""All timeouts and retries of the workflows.

An activity is run once at a time; the workflow itself decides whether to try again, because only so does it know
that a step is held up, and can say so. Writing the registry is the exception: Temporal retries it without end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy

from verdex.contracts import FailureKind

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=5)
"""After this, a worker that was killed counts as lost, and its step is given to another."""
CONCURRENT_SHARDS: Final = 4
"""Shards of one job that are indexed at a time. A job that has no more is soon done, and is not shared."""
SHARED_SHARDS: Final = 16
"""Shards of a larger job that workers find at a time, so that those of the next large job do not wait for all."""
ONCE: Final = RetryPolicy(maximum_attempts=1)
WITHOUT_END: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=4), maximum_attempts=0
)
RECORD_TIMEOUT: Final = timedelta(seconds=30)
RECORD_WITHIN_TASK_TIMEOUT: Final = timedelta(seconds=2)
"""As long as a workflow task lasts, the workflow hears of nothing else, such as a cancellation."""
TRIED_APART: Final = 3
"""After so many attempts, one of the steps of a job that are held up finds out for all whether they can go on."""


@dataclass(frozen=True)
class StepPolicy:
    """How long a step may take, and how often it is tried."""

    timeout: timedelta
    attempts: dict[FailureKind, int] = field(default_factory=lambda: {"permanent": 1, "bug": 3, "lost": 10})
    pauses: Sequence[float] = (0.5, 1, 2, 4, 8)  # seconds, at least; the last one is repeated
    is_shared: bool = False

    def queue(self, task_queue: str) -> str:
        """Where the workers of a task queue find the step.

        What is shared is apart from the rest, of which a worker takes all that comes: of this, what it has room for.
        """
        return f"{task_queue}:shared" if self.is_shared else task_queue

    def pause(self, kind: FailureKind, attempt: int, elapsed: timedelta, limit: timedelta) -> timedelta | None:
        """How long to wait after the attempt of this number that failed in this way; None to give up.

        What is transient is tried until it has lasted for `limit`, the rest for a number of attempts.
        """
        if elapsed >= limit if kind == "transient" else attempt >= self.attempts[kind]:
            return None
        least = self.pauses[min(attempt, len(self.pauses)) - 1]
        return timedelta(seconds=max(least, _patience(elapsed)) if kind == "transient" else least)


def _patience(elapsed: timedelta) -> int:
    """Seconds: a tenth of what it has lasted, up to a minute; after an hour a sixtieth.

    So it is soon noticed that it has passed, and the number of attempts, each of which is some 12 events of a
    history that Temporal limits, grows with the logarithm of the time.
    """
    seconds = elapsed.total_seconds()
    return round(max(min(seconds / 10, 60), seconds / 60))


PREFLIGHT: Final = StepPolicy(timeout=timedelta(minutes=5))
"""An embedder that is asked for the first time may have to load its model first."""
SCAN: Final = StepPolicy(timeout=timedelta(hours=2))
INDEX_SHARD: Final = StepPolicy(timeout=timedelta(hours=2))
INDEX_SHARED_SHARD: Final = replace(INDEX_SHARD, is_shared=True)
PUBLISH: Final = StepPolicy(timeout=timedelta(hours=1))
