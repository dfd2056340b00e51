"""The workflow that a schedule runs, so that no job outlives its workflow."""

from datetime import timedelta

from temporalio import workflow

from workflows import policies

with workflow.unsafe.imports_passed_through():
    from activities.reconcile import ReconcileActivities
    from verdex.contracts import RECONCILE_JOBS


@workflow.defn(name=RECONCILE_JOBS)
class ReconcileJobs:
    """Compare the rows that have not ended with Temporal, once."""

    @workflow.run
    async def run(self) -> int:
        """The number of rows that were ended."""
        return await workflow.execute_activity_method(
            ReconcileActivities.reconcile,
            start_to_close_timeout=timedelta(minutes=2),
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.ONCE,  # the schedule comes round again
        )
