"""Scanning: list the files of a repository and store the plan of the job."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from verdex.contracts import Embedder, Scan
from verdex.indexing.chunking import PIPELINE_VERSION
from verdex.sources.paths import to_path
from verdex.sources.working_tree import SourceFile, scan
from verdex.storage import vectors
from verdex.storage.database import Database
from verdex.storage.manifests import Manifests, ScannedFile

BATCH_FILES: Final = 1000


async def scan_repository(  # noqa: PLR0913  (all that decides what a job does)
    database: Database,
    job_id: str,
    repo_path: str,
    *,
    force_reindex: bool,
    max_file_bytes: int,
    embedder: Embedder | None = None,
) -> Scan:
    """Open the manifest of a job and plan it; a job that is planned already keeps its plan, and its embedder.

    Raises:
        RepositoryError: the tree cannot be listed at all.
        VectorsUnsupported: see `verdex.storage.vectors`.
        DatabaseUnavailable, …: see `verdex.errors`.
    """
    manifests = Manifests(database)
    embedder_id = await vectors.prepare(database, embedder) if embedder else None
    manifest = await manifests.open(
        job_id,
        repo_path,
        force_reindex=force_reindex,
        pipeline_version=PIPELINE_VERSION,
        embedder_id=embedder_id,
    )
    if not await manifests.is_planned(manifest.manifest_id):
        await manifests.plan(manifest.manifest_id, _files(to_path(repo_path), max_file_bytes))
    total, _ = await manifests.progress(manifest.manifest_id)
    if embedder and embedder_id and total > vectors.MANY_FILES:
        await vectors.index(database, vectors.StoredEmbedder(embedder_id, embedder))
    shards = await manifests.shards_left(manifest.manifest_id)
    return Scan(manifest=manifest, files_total=total, shards=shards)


async def _files(root: Path, max_file_bytes: int) -> AsyncIterator[ScannedFile]:
    """List the tree in a thread, so that the event loop stays free for heartbeats."""
    found = scan(root, max_file_bytes=max_file_bytes)
    while batch := await asyncio.to_thread(_take, found):
        for file in batch:
            yield file


def _take(found: Iterator[SourceFile]) -> list[ScannedFile]:
    return [_scanned(file) for file in islice(found, BATCH_FILES)]


def _scanned(file: SourceFile) -> ScannedFile:
    if file.failed is not None:
        return ScannedFile(file.path, file.size, None, "failed", file.failed)
    if file.skipped is not None:
        return ScannedFile(file.path, file.size, file.fingerprint, "skipped", file.skipped)
    return ScannedFile(file.path, file.size, file.fingerprint, None, None)
