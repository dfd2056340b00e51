"""What is asked of an embedder at once: bounded, whatever the texts."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

MAX_TEXTS: Final = 64
"""In a request. With four of them at a time, a slow model may take 0.4 s for each text before one is out of time."""
MAX_BYTES: Final = 100_000
"""Of the texts of a request, for the same reason: long texts take longer. A single text is always less."""
MAX_CHARACTERS: Final = 8_000
"""Of a text; of more, the beginning stands for all. Chunks have half of that, unless a single line is longer.

OpenAI refuses texts of more than 8,192 tokens, which are about 24,000 characters of code; Ollama cuts by itself.
"""


class Batch(NamedTuple):
    """Texts for one request, and the position of the first among all."""

    first: int
    texts: list[str]


def batches(texts: Iterable[str]) -> Iterator[Batch]:
    """All texts, in order, in as few batches as the bounds allow."""
    batch, size = Batch(0, []), 0
    for position, text in enumerate(texts):
        length = len(text.encode())
        if batch.texts and (len(batch.texts) == MAX_TEXTS or size + length > MAX_BYTES):
            yield batch
            batch, size = Batch(position, []), 0
        batch.texts.append(text)
        size += length
    if batch.texts:
        yield batch
