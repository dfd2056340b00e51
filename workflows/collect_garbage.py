"""The workflow that a schedule runs, so that nothing is kept for ever that nobody needs."""

from datetime import timedelta

from temporalio import workflow

from workflows import policies

with workflow.unsafe.imports_passed_through():
    from activities.retention import RetentionActivities
    from verdex.contracts import COLLECT_GARBAGE, Collected


@workflow.defn(name=COLLECT_GARBAGE)
class CollectGarbage:
    """Remove old jobs, and the manifests and blobs that nobody needs, once."""

    @workflow.run
    async def run(self) -> Collected:
        """What was removed."""
        return await workflow.execute_activity_method(
            RetentionActivities.collect_garbage,
            start_to_close_timeout=timedelta(minutes=55),
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.ONCE,  # the schedule comes round again
        )
