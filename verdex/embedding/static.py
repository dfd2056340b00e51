"""Static models of model2vec, in this process: no server, no graphics card, and thousands of texts a second."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from verdex.contracts import EmbeddingModel
from verdex.errors import EmbedderRefused

if TYPE_CHECKING:
    from model2vec import StaticModel

_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="verdex-model2vec")
"""For all of it: a tokenizer belongs to one thread at a time, and is spread over the processors by itself."""
_MODELS_KEPT: Final = 4


class Model2Vec:
    """A model from a directory of this machine: `model.safetensors`, `tokenizer.json` and `config.json`."""

    def __init__(self, model: EmbeddingModel) -> None:
        """It is loaded when it is first needed, and then kept by the process, whatever becomes of the directory."""
        self._path = model.model

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """All of each text counts, as its vector is a mean.

        Raises:
            EmbedderRefused: there is no such model, or no package `model2vec`.
        """
        return await asyncio.get_running_loop().run_in_executor(_THREAD, _encode, self._path, texts)


def _encode(path: str, texts: Sequence[str]) -> list[list[float]]:
    vectors: list[list[float]] = _loaded(path).encode(texts).tolist()
    return vectors


@lru_cache(_MODELS_KEPT)
def _loaded(path: str) -> "StaticModel":
    try:
        from model2vec import StaticModel  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError as error:
        raise EmbedderRefused(
            f"embedder model2vec:{path} needs what the worker lacks ({error}): pip install 'verdex[model2vec]'"
        ) from error
    if not Path(path).is_dir():  # else it would be looked for on the Internet
        raise EmbedderRefused(f"embedder model2vec:{path}: there is no such directory where the worker runs")
    try:
        return StaticModel.from_pretrained(path, max_length=None)
    except Exception as error:  # each of its parts raises errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EmbedderRefused(f"embedder model2vec:{path} cannot be loaded: {reason}") from error
