"""One log line for the end of each job: ERROR for each that failed, so that logs and rows agree.

Only workers write it, whoever ended the job: the lines of a command are for nobody, and a library has no log of its
own. The database notes each end in the transaction that makes it; the line is written inside of the transaction that
takes the note away. So it is never missing: where a worker dies before it, or a command or a person ended the job, the
reconciliation of some worker writes it, within its interval or when the next worker starts. It is there twice only if
that last transaction does not commit, with nothing left to do in it: a worker or the database died in that moment.
"""

import logging
from typing import Any, Final

from verdex.contracts import Counts, Job
from verdex.errors import VerdexError
from verdex.storage.registry import Registry

_COUNTS: Final = tuple(Counts.model_fields)
_IDS: Final = ("job_id", "project_id", "repo_path", "workflow_id", "trace_id")

_logger = logging.getLogger(__name__)


async def tell_ends(registry: Registry, job_id: str | None = None) -> None:
    """Log the end of every job, or of one, that was not logged yet; what cannot be told now is later. Never raises."""
    try:
        async with registry.untold_ends(job_id) as ended:
            for job in ended:
                _logger.log(_level(job), "job %s", _how(job), extra=_fields(job))
    except VerdexError as error:
        _logger.warning("ends of jobs are logged later", extra={"error": str(error)})
    except Exception:  # a job does not wait for its log line
        _logger.warning("ends of jobs are logged later", exc_info=True)


def _level(job: Job) -> int:
    if job.status == "failed":
        return logging.ERROR
    return logging.WARNING if job.result_status == "partial" else logging.INFO


def _how(job: Job) -> str:
    if job.result_status != "partial":
        return job.status
    return f"{job.status}, but {job.files_failed} of {job.files_total} files failed"


def _fields(job: Job) -> dict[str, Any]:
    """What a person or an alert needs to find the rest; the run of a job has its id."""
    return {
        **job.model_dump(include={*_IDS, *_COUNTS, "status", "status_message", "error_type", "duration_seconds"}),
        "run_id": job.job_id,
        "error": job.error_message,
        "errors_count": len(job.errors),
    }
