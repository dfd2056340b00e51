"""The activity that removes what no job and no search needs any more."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import activity

from verdex.contracts import Collected
from verdex.settings import Settings
from verdex.storage import retention
from verdex.storage.database import Database, Server
from verdex.storage.migrations import migrate
from verdex.storage.projects import Project, Projects

_logger = logging.getLogger(__name__)


class RetentionActivities:
    """Removes old jobs from the registry, and what they left in the databases of the projects."""

    def __init__(self, server: Server, settings: Settings) -> None:
        """`settings` say how long jobs are kept."""
        self._server = server
        self._projects = Projects(server)
        self._older_than = timedelta(days=settings.retention_days)

    @activity.defn
    async def collect_garbage(self) -> Collected:
        """Remove what is not needed. What breaks off half-way is taken up the next time.

        A project that cannot be collected now does not hold up the others.
        """
        jobs = await retention.remove_old_jobs(self._server.registry, self._older_than)
        projects = await self._projects.list()
        manifests = [await self._apart(project, self._collect_manifests) for project in projects]
        blobs = [await self._apart(project, retention.collect_blobs) for project in projects]
        collected = Collected(jobs_removed=jobs, manifests_removed=sum(manifests), blobs_removed=sum(blobs))
        vectors = sum([await self._apart(project, self._collect_vectors) for project in projects])
        _logger.info("garbage collected", extra={**collected.model_dump(), "vectors_removed": vectors})
        return collected

    async def _collect_manifests(self, database: Database) -> int:
        return await retention.collect_manifests(database, self._server.registry, self._older_than)

    async def _collect_vectors(self, database: Database) -> int:
        return await retention.collect_vectors(database, self._older_than)

    async def _apart(self, project: Project, collect: Callable[[Database], Awaitable[int]]) -> int:
        database = self._server.database(project.database_name)
        try:
            await migrate(database, "project")  # refuses a database of a newer verdex, which may need what this drops
            return await collect(database)
        except Exception:
            _logger.exception("project cannot be collected", extra={"project_id": project.id})
            return 0
