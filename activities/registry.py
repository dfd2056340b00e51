"""The registry-update activity."""

import logging
from typing import Final

from temporalio import activity

from verdex.contracts import JobRecord, JobStatus
from verdex.storage.registry import Registry

_LEVELS: Final[dict[JobStatus, int]] = {
    "completed": logging.INFO,
    "failed": logging.ERROR,
    "cancelled": logging.WARNING,
}

_logger = logging.getLogger(__name__)


class RegistryActivities:
    """Writes the row of a job; the workflow of the job is the only one to call it."""

    def __init__(self, registry: Registry) -> None:
        """Write to `registry`."""
        self._registry = registry

    @activity.defn
    async def update_registry(self, record: JobRecord) -> None:
        """Make the row of the job say what the record says; idempotent, and a late record changes nothing."""
        await self._registry.record(record)
        _log_end(record)


def _log_end(record: JobRecord) -> None:
    """One line for each job, with what a person or an alert needs to find the rest."""
    status, result = record.state.status, record.result
    if level := _LEVELS.get(status):
        fields = {
            "job_id": record.identity.job_id,
            "project_id": record.identity.project_id,
            "repo_path": record.identity.repo_path,
            "trace_id": record.identity.trace_id,
            "error": result and result.error_message,
            "error_type": result and result.error_type,
            "errors_count": len(result.errors) if result else 0,
            "files_indexed": result.files_indexed if result else 0,
        }
        _logger.log(level, "job %s", status, extra=fields)
