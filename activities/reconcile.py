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
        """End every row whose workflow is closed or lost; the number of rows that were ended."""
        return await self._reconciler.reconcile_all()
