"""What a query means, as the embedder of a project tells it; without an answer, searches go by words."""

import asyncio
from typing import Final, NamedTuple

from verdex.contracts import Embedder
from verdex.embedding import Embedders
from verdex.errors import EmbedderMismatch, EmbedderRefused, EmbedderUnavailable
from verdex.storage.searching import Meaning, SearchedIndex, SearchedManifest
from verdex.telemetry.redaction import redact

SECONDS: Final = 5.0
"""That a search waits for the embedder."""


class ByMeaning(NamedTuple):
    """How far a search can go by what the query means."""

    meaning: Meaning | None = None
    warning: str | None = None
    lacking: frozenset[int] = frozenset()
    """Manifests without vectors of the embedder of their project."""


async def by_meaning(
    index: SearchedIndex, manifests: list[SearchedManifest], query: str, embedder: Embedder | None, embedders: Embedders
) -> ByMeaning:
    """Ask the embedder, where there is one, unless nothing that is searched has its vectors."""
    if embedder is None:
        return ByMeaning()
    embedded = await index.embedded(embedder)
    lacking = frozenset(one.manifest_id for one in manifests if one.manifest_id not in embedded)
    if len(lacking) == len(manifests):
        return ByMeaning(lacking=lacking)
    try:
        async with asyncio.timeout(SECONDS):
            (vector,) = await (await embedders.open(embedder)).embed([query], purpose="query")
    except (EmbedderUnavailable, EmbedderRefused, EmbedderMismatch) as error:
        return ByMeaning(warning=_warning(str(error)), lacking=lacking)
    except TimeoutError:
        return ByMeaning(warning=_warning(f"embedder {embedder} gave no answer in {SECONDS:g} s"), lacking=lacking)
    return ByMeaning(Meaning(next(iter(embedded.values())), vector), lacking=lacking)


def _warning(reason: str) -> str:
    return f"not searched by meaning: {redact(reason)}"
