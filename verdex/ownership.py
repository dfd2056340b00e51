"""A registry belongs to one Temporal namespace; in any other, each of its jobs would look lost."""

from typing import Final

from verdex.errors import SettingsError
from verdex.storage import namespaces
from verdex.storage.database import Database
from verdex.storage.namespaces import Namespace
from verdex.temporal.jobs import TemporalJobs

_IF_LOST: Final = (
    "If the first one is lost or left for good, run this in the registry, and what it ran is ended as lost: "
    "DELETE FROM temporal_namespace"
)


async def check_ownership(jobs: TemporalJobs, registry: Database) -> None:
    """Make sure that the registry belongs to the Temporal namespace that `jobs` reads; at the first use, make it so.

    Raises:
        SettingsError: it belongs to another one.
        TemporalUnavailable, DatabaseUnavailable
    """
    met = await jobs.namespace()
    _compare(await namespaces.owner(registry, met), met)


async def examine_ownership(jobs: TemporalJobs, registry: Database) -> None:
    """As `check_ownership`, for whom only looks: nothing is made so."""
    met = await jobs.namespace()
    _compare(await namespaces.remembered(registry) or met, met)


def _compare(owner: Namespace, met: Namespace) -> None:
    if owner.id != met.id:
        raise SettingsError(
            f'this registry belongs to the Temporal namespace "{owner.name}" ({owner.id}), but TEMPORAL_ADDRESS and '
            f'TEMPORAL_NAMESPACE lead to "{met.name}" ({met.id}): set them right. {_IF_LOST}'
        )
