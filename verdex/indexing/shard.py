"""Indexing one shard: read, chunk, embed and store the files that have no outcome yet, a batch at a time."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from verdex.contracts import Shard
from verdex.errors import VectorUnusable
from verdex.indexing.embedding import Embedding, ManifestEmbedding, text_hash
from verdex.indexing.languages import language_of
from verdex.indexing.pool import ChunkPool, ParserCrashed, Source
from verdex.indexing.text import NotText, decode
from verdex.sources.errors import FileError, FileTooLarge, FileVanished, NotARegularFile
from verdex.sources.paths import to_path
from verdex.sources.working_tree import check_still_there, read
from verdex.storage import blobs, vectors
from verdex.storage.blobs import BlobKey
from verdex.storage.copying import EncodedChunk, lines
from verdex.storage.database import Connection, Database
from verdex.storage.manifests import FileToIndex, IndexedFile, Manifests, settle

BATCH_FILES: Final = 32
BATCH_BYTES: Final = 2 * 1024 * 1024
"""A worker that is killed loses one batch a shard: with four shards at a time, less than 1 % of 15,000 files."""

Content = str


class NoVector(Exception):
    """A chunk can have no vector."""

    def __init__(self, chunk: EncodedChunk, error: VectorUnusable) -> None:
        """Name the lines of the chunk."""
        super().__init__("the vector of lines {}-{} is {error.reason}".format(*lines(chunk), error=error))


Chunked = Mapping[BlobKey, list[EncodedChunk] | ParserCrashed | NoVector]


class ReadFile(NamedTuple):
    """A file that was read: its blob and, until that is known to be stored, its text."""

    ordinal: int
    size: int  # bytes
    fingerprint: str | None
    key: BlobKey
    content: Content
    note: str | None


async def index_shard(  # noqa: PLR0913  (all that it works with)
    database: Database,
    pool: ChunkPool,
    shard: Shard,
    *,
    max_file_bytes: int,
    on_batch: Callable[[int], Awaitable[None]],
    embedding: Embedding | None = None,
) -> None:
    """Give every file of the shard an outcome.

    Each batch is one transaction; what is stored stays if this breaks off. `on_batch` is awaited after each batch, with
    the bytes of text that were read for it. A manifest that has an embedder needs `embedding`.

    Raises:
        RepositoryError: the tree is gone as a whole.
        EmbedderUnavailable, EmbedderRefused, EmbedderMismatch: see `verdex.embedding`.
        DatabaseUnavailable, …: see `verdex.errors`; never for what is wrong with one file.
    """
    manifest = shard.manifest
    embeds = await embedding.of_manifest(database, manifest.manifest_id) if embedding else None
    batches = Batches(database, pool, manifest.manifest_id, embeds)
    left = await Manifests(database).files_left(manifest.manifest_id, shard.shard)
    for batch in _batches(left):
        files = await asyncio.to_thread(_read_all, to_path(manifest.repo_path), batch, max_file_bytes)
        await batches.store(files)
        await on_batch(sum(file.size for file in files if isinstance(file, ReadFile)))


def _batches(files: Iterable[FileToIndex]) -> Iterator[list[FileToIndex]]:
    batch: list[FileToIndex] = []
    for file in files:
        if batch and (len(batch) == BATCH_FILES or sum(one.size for one in batch) + file.size > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _read_all(root: Path, batch: Sequence[FileToIndex], max_file_bytes: int) -> list[ReadFile | IndexedFile]:
    return [_read(root, file, max_file_bytes) for file in batch]


def _read(root: Path, file: FileToIndex, max_file_bytes: int) -> ReadFile | IndexedFile:
    try:
        found = read(root, file.path, max_file_bytes=max_file_bytes)
    except (FileVanished, NotARegularFile, FileTooLarge) as error:
        check_still_there(root)
        return IndexedFile(file.ordinal, file.size, None, "skipped", error.reason, None)
    except FileError as error:
        return IndexedFile(file.ordinal, file.size, None, "failed", error.reason, None)
    size, text = len(found.content), decode(found.content)
    if isinstance(text, NotText):
        return IndexedFile(file.ordinal, size, found.fingerprint, "skipped", text.reason, None)
    key = BlobKey(hashlib.sha256(found.content).digest(), language_of(file.path, found.content[:128]) or "")
    return ReadFile(file.ordinal, size, found.fingerprint, key, text.content, text.note)


class Batches:
    """Stores batches of files for one manifest."""

    def __init__(
        self, database: Database, pool: ChunkPool, manifest_id: int, embedding: ManifestEmbedding | None
    ) -> None:
        """Parse in the processes of `pool`; embed where there is an embedder."""
        self._database = database
        self._pool = pool
        self._manifest_id = manifest_id
        self._embedding = embedding

    async def store(self, files: Sequence[ReadFile | IndexedFile]) -> None:
        """Store what the files hold, and their outcomes."""
        while not await self._try_to_store(files):
            pass  # a blob or a vector that was known has been collected since, and is made anew

    async def _try_to_store(self, files: Sequence[ReadFile | IndexedFile]) -> bool:
        texts = {file.key: file.content for file in files if isinstance(file, ReadFile)}
        known = await blobs.known(self._database, self._manifest_id, texts)
        chunked = await _chunk(self._pool, {key: content for key, content in texts.items() if key not in known})
        if self._embedding is not None:
            chunked = await _embed(self._embedding, chunked)
        new = {key: chunks for key, chunks in chunked.items() if not isinstance(chunks, Exception)}
        async with self._database.transaction() as connection:
            held = await blobs.hold(connection, self._manifest_id, known)
            if len(held) < len(known) or not await self._has_vectors(connection, new):
                return False
            ids = {**held, **await blobs.store(connection, self._manifest_id, new)}
            settled = [_settled(file, ids, chunked) if isinstance(file, ReadFile) else file for file in files]
            await settle(connection, self._manifest_id, settled)
        return True

    async def _has_vectors(self, connection: Connection, new: Mapping[BlobKey, Sequence[EncodedChunk]]) -> bool:
        if self._embedding is None:
            return True
        hashes = {text_hash(chunk) for chunks in new.values() for chunk in chunks}
        return await vectors.hold(connection, self._embedding.embedder_id, hashes)


async def _chunk(pool: ChunkPool, contents: Mapping[BlobKey, Content]) -> Chunked:
    sources = [Source(content, key.language or None) for key, content in contents.items()]
    return dict(zip(contents, await pool.chunk(sources), strict=True)) if sources else {}


async def _embed(embedding: ManifestEmbedding, chunked: Chunked) -> Chunked:
    """The same, with a vector for each; `NoVector` in place of the chunks of a blob, one of which can have none."""
    whole = {key: chunks for key, chunks in chunked.items() if not isinstance(chunks, Exception)}
    unusable = await embedding.embed(chunk for chunks in whole.values() for chunk in chunks)
    lacking = [(key, chunk) for key, chunks in whole.items() for chunk in chunks if text_hash(chunk) in unusable]
    first = {key: NoVector(chunk, unusable[text_hash(chunk)]) for key, chunk in reversed(lacking)}
    return {**chunked, **first}


def _settled(file: ReadFile, ids: Mapping[BlobKey, int], chunked: Chunked) -> IndexedFile:
    error = chunked.get(file.key)
    if isinstance(error, Exception):
        return IndexedFile(file.ordinal, file.size, None, "failed", str(error), None)
    return IndexedFile(file.ordinal, file.size, file.fingerprint, "indexed", file.note, ids[file.key])
