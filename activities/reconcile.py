"""The activity that ends the rows whose workflow is gone."""

from temporalio import activity

from verdex.reconcile import Reconciler


class ReconcileActivities:
    """Compares the registry with Temporal."""

    def __init__(self, reconciler: Reconciler) -> None:
        """Use `reconciler`."""
        self._reconciler = reconciler

    @activity.defn
    async def reconcile(self) -> int:
        """End every row whose workflow is closed or lost, and look for lost indexes; the number of these rows."""
        ended = await self._reconciler.reconcile_all()
        ended += await self._reconciler.reconcile_unrecorded(activity.info().task_queue)
        await self._reconciler.warn_of_absent()
        return ended
