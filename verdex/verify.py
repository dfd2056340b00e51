"""Whether what the last completed job of a repository claimed is true now.

Three things are compared: what the row of the job says, what the index holds, and what the source holds. Neither
fingerprints nor stored counts are believed. Nothing is written, and of the index only a batch of files is in memory.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from verdex.contracts import Verification
from verdex.errors import DatabaseNotFound, JobNotFound, RepositoryError
from verdex.indexing.agreement import difference, examine
from verdex.indexing.chunking import PIPELINE_VERSION
from verdex.sources.paths import to_path
from verdex.sources.working_tree import SourceFile, scan
from verdex.storage.claims import Claim, Repository, claim
from verdex.storage.database import Server
from verdex.storage.projects import database_name
from verdex.storage.published import PublishedFile, PublishedIndex, StoredChunk, published

KEPT_DIFFERENCES: Final = 100
BATCH_BYTES: Final = 1024 * 1024
FILE_COST: Final = 8 * 1024
"""What a file costs beside its content, in bytes: a batch has at most BATCH_BYTES / FILE_COST files."""

_Pair = tuple[str, SourceFile | None, PublishedFile | None]
"""A path, what the scan says of it, and what the index holds."""


async def verify(server: Server, project_id: str, repo_path: str, *, max_file_bytes: int) -> Verification:
    """Compare the claim of the last completed job with the index, and the index with the source, as they are now.

    Raises:
        JobNotFound: no job of the repository has completed.
        DatabaseUnavailable, DatabaseRefused
    """
    repository, database = Repository(project_id, repo_path), server.database(database_name(project_id))
    while True:
        claimed = await claim(server.registry, repository)
        if claimed is None:
            raise JobNotFound(f"no job has completed for {repo_path} in {project_id}: there is nothing to verify")
        comparison = _Comparison(claimed, to_path(repo_path), max_file_bytes)
        try:
            async with published(database, repo_path) as index:
                # Or a job has completed meanwhile, and the snapshot may be older than what it claims.
                if await claim(server.registry, repository) == claimed:
                    await comparison.run(index)
                    return comparison.verification(project_id, repo_path)
        except DatabaseNotFound as error:
            comparison.add(f"nothing is published: {error}")
            return comparison.verification(project_id, repo_path)


class _Comparison:
    def __init__(self, claim: Claim, root: Path, max_file_bytes: int) -> None:
        self._claim = claim
        self._root = root
        self._max_file_bytes = max_file_bytes
        self._differences: list[str] = []
        self._total = 0
        self._outcomes = Counter[str]()
        self._chunks = 0
        self._digest: str | None = None

    def add(self, *differences: str) -> None:
        self._total += len(differences)
        self._differences += differences[: KEPT_DIFFERENCES - len(self._differences)]

    def verification(self, project_id: str, repo_path: str) -> Verification:
        return Verification(
            job_id=self._claim.job_id,
            project_id=project_id,
            repo_path=repo_path,
            files=self._outcomes["indexed"],
            chunks=self._chunks,
            manifest_digest=self._digest,
            differences=self._differences,
            differences_total=self._total,
        )

    async def run(self, index: PublishedIndex | None) -> None:
        if index is None:
            self.add("nothing is published")
            return
        await self._compare_with_claim(index)
        try:
            source = await asyncio.to_thread(_scanned, self._root, self._max_file_bytes)
        except RepositoryError as error:
            self.add(str(error))
        else:
            await self._compare_with_source(index, source)

    async def _compare_with_claim(self, index: PublishedIndex) -> None:
        """Count and digest what is in the index; the digest is computed in another way than by publishing."""
        digest, last = hashlib.sha256(), None
        async for file in index.files():
            if file.path == last:
                self.add(f"{last}: twice in the index")
            last = file.path
            self._outcomes[file.outcome] += 1
            if file.content_hash is not None:
                digest.update(file.path.encode() + b"\0" + file.content_hash)
        self._digest, self._chunks = digest.hexdigest(), await index.count_chunks()
        for name, said, held in zip(Claim._fields, self._claim, self._held(index), strict=True):
            if said != held:
                self.add(f"{name}: the job says {said}, the index {held}")

    def _held(self, index: PublishedIndex) -> Claim:
        """What a job could truly claim."""
        return Claim(
            job_id=index.job_id,
            generation=index.generation,
            files_indexed=self._outcomes["indexed"],
            files_skipped=self._outcomes["skipped"],
            files_failed=self._outcomes["failed"],
            chunks_total=self._chunks,
            manifest_digest=self._digest or "",
        )

    async def _compare_with_source(self, index: PublishedIndex, source: Mapping[str, SourceFile]) -> None:
        unknown = set(source)
        async for batch in _batches(index.files()):
            unknown.difference_update(file.path for file in batch)
            blob_ids = [file.blob_id for file in batch if file.blob_id is not None]
            chunks = await index.chunks(blob_ids, with_lexemes=index.pipeline_version == PIPELINE_VERSION)
            pairs = [(file.path, source.get(file.path), file) for file in batch]
            await asyncio.to_thread(self._compare_files, pairs, chunks)
        left = ((path, scanned, None) for path, scanned in source.items() if path in unknown)
        await asyncio.to_thread(self._compare_files, left, {})

    def _compare_files(self, pairs: Iterable[_Pair], chunks: Mapping[int | None, Sequence[StoredChunk]]) -> None:
        for path, scanned, held in pairs:
            source = examine(self._root, path, scanned, max_file_bytes=self._max_file_bytes)
            if wrong := difference(source, held, chunks.get(held.blob_id, ()) if held else ()):
                self.add(f"{path}: {wrong}")


def _scanned(root: Path, max_file_bytes: int) -> dict[str, SourceFile]:
    return {file.path: file for file in scan(root, max_file_bytes=max_file_bytes)}


async def _batches(files: AsyncIterable[PublishedFile]) -> AsyncIterator[list[PublishedFile]]:
    batch, cost = list[PublishedFile](), 0
    async for file in files:
        if batch and cost + file.size + FILE_COST > BATCH_BYTES:
            yield batch
            batch, cost = [], 0
        batch.append(file)
        cost += file.size + FILE_COST
    if batch:
        yield batch
