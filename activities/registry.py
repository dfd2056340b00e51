"""The registry-update activity."""

from temporalio import activity

from activities.ends import tell_ends
from verdex.contracts import TERMINAL, JobRecord
from verdex.storage.registry import Registry


class RegistryActivities:
    """Writes the row of a job; the workflow of the job is the only one to call it."""

    def __init__(self, registry: Registry) -> None:
        """Write to `registry`."""
        self._registry = registry

    @activity.defn
    async def update_registry(self, record: JobRecord) -> None:
        """Make the row of the job say what the record says; idempotent, and a late record changes nothing."""
        await self._registry.record(record)
        if record.state.status in TERMINAL:
            await tell_ends(self._registry, record.identity.job_id)
