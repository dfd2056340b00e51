"""Embedding what is indexed: each text once, whoever comes to it, and nothing that was embedded is lost."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Final, TypeAlias

from verdex.embedding import Embedders, TextEmbedder
from verdex.errors import VectorUnusable
from verdex.storage import vectors
from verdex.storage.copying import EncodedChunk, text_to_embed
from verdex.storage.database import Database

GROUP_TEXTS: Final = 256
"""That are embedded before their vectors are stored: what breaks off then loses no more. Four requests, or a few."""

TextHash = bytes
"""SHA-256 of a text."""

Unusable: TypeAlias = "dict[TextHash, VectorUnusable]"
Underway: TypeAlias = "dict[TextHash, asyncio.Future[None]]"


def text_hash(chunk: EncodedChunk) -> TextHash:
    """By this, the vector of a chunk is known."""
    return hashlib.sha256(text_to_embed(chunk)).digest()


class Embedding:
    """Embeds for all shards of a worker."""

    def __init__(self, embedders: Embedders) -> None:
        """`embedders` are opened as they are needed, and closed by their owner."""
        self._embedders = embedders
        self._underway: dict[tuple[str | None, int], Underway] = defaultdict(dict)

    async def of_manifest(self, database: Database, manifest_id: int) -> "ManifestEmbedding | None":
        """What embeds the texts of a manifest; None where that has no embedder."""
        stored = await vectors.of_manifest(database, manifest_id)
        if stored is None:
            return None
        embedder = await self._embedders.open(stored.embedder)
        return ManifestEmbedding(database, stored.id, embedder, self._underway[database.name, stored.id])


class ManifestEmbedding:
    """Embeds texts by the embedder that a manifest has."""

    def __init__(self, database: Database, embedder_id: int, embedder: TextEmbedder, underway: Underway) -> None:
        """Use `Embedding.of_manifest`."""
        self.embedder_id = embedder_id
        self._database = database
        self._embedder = embedder
        self._underway = underway

    async def embed(self, chunks: Iterable[EncodedChunk]) -> Unusable:
        """See to it that the text of each chunk has a vector; those that can have none.

        What another shard has under way is waited for, and tried again if that breaks off.

        Raises:
            EmbedderUnavailable, EmbedderRefused, EmbedderMismatch: see `verdex.embedding`. What was stored stays.
        """
        texts = {text_hash(chunk): text_to_embed(chunk).decode() for chunk in chunks}
        unusable: Unusable = {}
        while texts:
            mine = {key: text for key, text in texts.items() if key not in self._underway}
            if mine:
                with self._claimed(mine):
                    unusable |= await self._embed_missing(mine)
            else:
                await asyncio.wait({self._underway[key] for key in texts})
            texts = {key: text for key, text in texts.items() if key not in mine}
        return unusable

    @contextmanager
    def _claimed(self, keys: Iterable[TextHash]) -> Iterator[None]:
        done = asyncio.get_running_loop().create_future()
        claimed = dict.fromkeys(keys, done)
        self._underway |= claimed
        try:
            yield
        finally:
            for key in claimed:
                del self._underway[key]
            done.set_result(None)

    async def _embed_missing(self, texts: Mapping[TextHash, str]) -> Unusable:
        known = await vectors.known(self._database, self.embedder_id, texts)
        missing = iter([key for key in texts if key not in known])
        unusable: Unusable = {}
        while group := list(islice(missing, GROUP_TEXTS)):
            found = await self._embedder.embed_each([texts[key] for key in group], purpose="document")
            made = dict(zip(group, found, strict=True))
            usable = {key: vector for key, vector in made.items() if not isinstance(vector, VectorUnusable)}
            await vectors.store(self._database, self.embedder_id, usable)
            unusable |= {key: error for key, error in made.items() if isinstance(error, VectorUnusable)}
        return unusable
