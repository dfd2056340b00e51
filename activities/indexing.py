"""The steps of an indexing job."""

import asyncio
import time
from typing import Final

from opentelemetry import trace
from temporalio import activity

from activities.metrics import WorkMetrics
from verdex.contracts import IndexResult, JobIdentity, Manifest, Scan, Shard
from verdex.embedding import Embedders
from verdex.errors import JobReset
from verdex.indexing.embedding import Embedding
from verdex.indexing.pool import ChunkPool
from verdex.indexing.preflight import check_root
from verdex.indexing.scan import scan_repository
from verdex.indexing.shard import index_shard
from verdex.settings import Settings
from verdex.sources.paths import to_path
from verdex.sources.working_tree import check_still_there
from verdex.storage import publish, vectors
from verdex.storage.database import Server
from verdex.storage.manifests import Manifests
from verdex.storage.migrations import migrate
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry
from verdex.storage.searching import prepare

PROGRESS_SECONDS: Final = 0.5
"""The registry hears at most this often how far a job is,"""
PROGRESS_SHARE: Final = 0.05
"""and less often where a tree is so large that counting its files takes more than this part of the time."""


class IndexingActivities:
    """Each step can be done twice: what an earlier attempt stored is found and kept."""

    def __init__(
        self, server: Server, pool: ChunkPool, embedders: Embedders, settings: Settings, metrics: WorkMetrics
    ) -> None:
        """Work on the databases of `server`, parse in the processes of `pool`, and tell `metrics` what was done."""
        self._server = server
        self._projects = Projects(server)
        self._registry = Registry(server.registry)
        self._pool = pool
        self._embedders = embedders
        self._embedding = Embedding(embedders)
        self._settings = settings
        self._metrics = metrics
        self._progress_due: dict[str, float] = {}

    @activity.defn
    async def preflight(self, job: JobIdentity) -> None:
        """Check the repository, the database of its project and its embedder, before any work is done."""
        await asyncio.to_thread(check_root, to_path(job.repo_path), self._settings.allowed_roots)
        project = await self._projects.find(job.project_id)
        database = self._server.database(project.database_name)
        await migrate(database, "project")
        if project.embedder is not None:
            await (await self._embedders.open(project.embedder)).probe()
            await vectors.prepare(database, project.embedder)

    @activity.defn
    async def scan(self, job: JobIdentity) -> Scan:
        """List the files of the repository and plan the shards."""
        project = await self._projects.find(job.project_id)
        return await scan_repository(
            self._server.database(project.database_name),
            job.job_id,
            job.repo_path,
            force_reindex=job.force_reindex,
            max_file_bytes=self._settings.max_file_bytes,
            embedder=project.embedder,
        )

    @activity.defn
    async def index_shard(self, shard: Shard) -> None:
        """Give every file of a shard its outcome."""
        _refuse_reset(shard.manifest)
        trace.get_current_span().set_attribute("verdex.shard", shard.shard)
        began = time.monotonic()
        await index_shard(
            self._server.database(shard.manifest.database_name),
            self._pool,
            shard,
            max_file_bytes=self._settings.max_file_bytes,
            on_batch=lambda read_bytes: self._tell_batch(shard.manifest, read_bytes),
            embedding=self._embedding,
        )
        self._metrics.shard(time.monotonic() - began)

    async def _tell_batch(self, manifest: Manifest, read_bytes: int) -> None:
        self._metrics.batch(read_bytes)
        began = time.monotonic()
        if began < self._progress_due.get(manifest.job_id, 0):
            return
        self._progress_due[manifest.job_id] = began + PROGRESS_SECONDS
        _, done = await Manifests(self._server.database(manifest.database_name)).progress(manifest.manifest_id)
        await self._registry.record_progress(manifest.job_id, done)
        took = time.monotonic() - began
        self._progress_due[manifest.job_id] = began + max(PROGRESS_SECONDS, took / PROGRESS_SHARE)

    @activity.defn
    async def publish(self, manifest: Manifest) -> IndexResult:
        """Let searches see the manifest, or decide that they never will."""
        _refuse_reset(manifest)
        self._progress_due.pop(manifest.job_id, None)
        database = self._server.database(manifest.database_name)
        if await Manifests(database).has_files(manifest.manifest_id):
            # What vanished with the whole tree would look as if somebody had deleted just that.
            await asyncio.to_thread(check_still_there, to_path(manifest.repo_path))
        await prepare(database)
        embedder = await vectors.of_manifest(database, manifest.manifest_id)
        if embedder is not None:
            await vectors.index(database, embedder)
        return await publish.publish(
            database,
            manifest.manifest_id,
            max_failed_ratio=self._settings.max_failed_ratio,
        )

    @activity.defn
    async def abandon(self, job: JobIdentity) -> IndexResult | None:
        """Make sure that the job never publishes; gives the result if it did already."""
        return await publish.withdraw(self._server, job.project_id, job.job_id)


def _refuse_reset(manifest: Manifest) -> None:
    """A workflow that is reset goes on as another job; the work of the first may be done with, or somebody else's."""
    if manifest.job_id != activity.info().workflow_run_id:
        raise JobReset(manifest.job_id)
