"""A project with very many chunks, whose words are as common as those of code."""

from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from typing import Final
from uuid import uuid4

from verdex.indexing.chunking import PIPELINE_VERSION, Chunk
from verdex.storage import blobs
from verdex.storage.blobs import BlobKey
from verdex.storage.copying import encoded
from verdex.storage.database import Database
from verdex.storage.manifests import IndexedFile, Manifests, ScannedFile, settle
from verdex.storage.publish import publish

FILES: Final = 3_000
CHUNKS_IN_FILE: Final = 10
CHUNKS: Final = FILES * CHUNKS_IN_FILE
LANGUAGES: Final = ["python"] * 9 + ["go"]


def path_of(number: int) -> str:
    return f"part_{number % 50}/layer_{number % 7}/module_{number}.py"


def name(kind: str, number: int) -> str:
    """A word of its own for each number."""
    return kind + str(number).translate(str.maketrans("0123456789", "bcfghjkmnp"))


def chunks_of(number: int) -> Iterator[Chunk]:
    """Every chunk returns; two of three raise an error; a name is defined once, and used in one other chunk."""
    for own in range(number * CHUNKS_IN_FILE, (number + 1) * CHUNKS_IN_FILE):
        raised = "raise error" if own % 3 else "continue"
        lines = [
            f"def {name('item', own)}(self):",
            f"    {name('item', (own + 7919) % CHUNKS)}({name('group', own % 100)})",
        ]
        lines += [f"    if missing: {raised}", "    return value", *["    return return return"] * (own % 1000 == 0)]
        yield Chunk(own + 1, own + 1, "function", name("item", own), "\n".join(lines))


async def fill(database: Database, path: str, files: range, *, is_published: bool = True) -> None:
    """Index a repository of these files."""
    manifests = Manifests(database)
    manifest = await manifests.open(str(uuid4()), path, force_reindex=False, pipeline_version=PIPELINE_VERSION)
    await manifests.plan(manifest.manifest_id, _scanned(files))
    for first in range(0, len(files), 500):
        some = files[first : first + 500]
        keys = [BlobKey(sha256(f"{path} {one}".encode()).digest(), LANGUAGES[one % 10]) for one in some]
        stored = {key: encoded(chunks_of(one)) for key, one in zip(keys, some, strict=True)}
        async with database.transaction() as connection:
            ids = await blobs.store(connection, manifest.manifest_id, stored)
            rows = [
                IndexedFile(ordinal, 1, "state", "indexed", None, ids[key]) for ordinal, key in enumerate(keys, first)
            ]
            await settle(connection, manifest.manifest_id, rows)
    if is_published:
        await publish(database, manifest.manifest_id, max_failed_ratio=0)


async def _scanned(files: range) -> AsyncIterator[ScannedFile]:
    for number in files:
        yield ScannedFile(path_of(number), 1, "state", None, None)
