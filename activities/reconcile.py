"""The activity that ends the rows whose workflow is gone."""

from temporalio import activity

from activities.ends import tell_ends
from verdex.reconcile import Reconciler
from verdex.storage.registry import Registry


class ReconcileActivities:
    """Compares the registry with Temporal."""

    def __init__(self, reconciler: Reconciler, registry: Registry) -> None:
        """Use `reconciler`, which ends rows of `registry`."""
        self._reconciler = reconciler
        self._registry = registry

    @activity.defn
    async def reconcile(self) -> int:
        """End every row whose workflow is closed or lost, and look for lost indexes; the number of these rows.

        Also logs every end that was not logged yet, whoever made it.
        """
        try:
            ended = await self._reconciler.reconcile_all()
            ended += await self._reconciler.reconcile_unrecorded(activity.info().task_queue)
        finally:
            await tell_ends(self._registry)
        await self._reconciler.warn_of_absent()
        return ended
