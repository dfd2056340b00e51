"""All that goes wrong while a job runs.

Each is a class: how it is brought about, how it is healed, and which ends are true after it.
"""

from typing import Final

from tests.chaos.faults import database, disk, files, network, people, processes
from tests.chaos.faults.base import Fault

FAULTS: Final[dict[str, type[Fault]]] = {
    fault.name: fault
    for fault in (
        Fault,
        processes.WorkerKilled,
        processes.WorkerKilledLate,
        processes.WorkerFrozen,
        processes.PostgresKilled,
        processes.BackendKilled,
        processes.PostgresStopped,
        processes.PostgresFrozen,
        processes.TemporalKilled,
        processes.TemporalFrozen,
        processes.SecondWorker,
        network.PostgresDelayed,
        network.PostgresCut,
        network.PostgresSwallowed,
        network.TemporalDelayed,
        network.TemporalCut,
        network.TemporalSwallowed,
        database.DatabaseDropped,
        database.ConnectionsExhausted,
        database.StatementTimeout,
        database.RightsRevoked,
        disk.DiskFull,
        files.RepositoryDeleted,
        files.Unreadable,
        files.DirectoryClosed,
        files.FileChanges,
        people.Cancelled,
        people.Terminated,
        people.Duplicates,
    )
}
