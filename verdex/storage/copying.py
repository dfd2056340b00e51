"""Chunks in the binary format of COPY.

They are encoded by the processes that make them, so that the worker hands them on as they are.
https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from verdex.terms import LARGE, lexemes

COLUMNS: Final = ("blob_id", "ordinal", "start_line", "end_line", "kind", "symbol", "content", "lexemes")

EncodedChunk = bytes
"""A row of `chunks`, but for the number of its columns and its blob."""


class ChunkRow(Protocol):
    """What is stored of a chunk; lines are numbered from 1, and the last one is part of it."""

    @property
    def start_line(self) -> int: ...  # noqa: D102
    @property
    def end_line(self) -> int: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def symbol(self) -> str | None: ...  # noqa: D102
    @property
    def content(self) -> str: ...  # noqa: D102


_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = struct.pack("!h", -1)
_NULL: Final = struct.pack("!i", -1)
_BLOB: Final = struct.Struct("!hiq")
_NUMBERS: Final = struct.Struct("!iiiiii")
_LENGTH: Final = struct.Struct("!i")
_POSITIONS: Final = [struct.pack("!xHH", 1, weight << 14 | 1) for weight in range(4)]


def encoded(chunks: Iterable[ChunkRow], *, size: int = 0) -> list[EncodedChunk]:
    """All chunks of a blob, in order; `size` is the number of its characters."""
    is_large = size >= LARGE
    return [
        b"".join(
            (
                _NUMBERS.pack(4, ordinal, 4, chunk.start_line, 4, chunk.end_line),
                _text(chunk.kind),
                _NULL if chunk.symbol is None else _text(chunk.symbol),
                _text(chunk.content),
                _lexemes(lexemes(chunk.content, chunk.symbol, is_part_of_large=is_large)),
            )
        )
        for ordinal, chunk in enumerate(chunks)
    ]


def lines(chunk: EncodedChunk) -> tuple[int, int]:
    """The first line of a chunk and the last."""
    _, _, _, start_line, _, end_line = _NUMBERS.unpack_from(chunk)
    return start_line, end_line


def text_to_embed(chunk: EncodedChunk) -> bytes:
    """What the vector of a chunk stands for: its symbol in a line of its own, where it has one, and its content."""
    _, symbol, content = islice(_fields(chunk), 3)
    return b"\n".join(field for field in (symbol, content) if field is not None)


def _fields(chunk: EncodedChunk) -> Iterator[bytes | None]:
    """Those behind the numbers."""
    position = _NUMBERS.size
    while position < len(chunk):
        (length,) = _LENGTH.unpack_from(chunk, position)
        position += _LENGTH.size
        yield None if length < 0 else chunk[position : position + length]
        position += max(length, 0)


def _text(text: str) -> bytes:
    return _field(text.encode())


def _lexemes(weights: Mapping[str, int]) -> bytes:
    """A tsvector, as `tsvectorrecv` of PostgreSQL reads it; a weight is that of a position."""
    body = b"".join([term.encode() + _POSITIONS[weight] for term, weight in weights.items()])
    return _field(_LENGTH.pack(len(weights)) + body)


def _field(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


async def copied(chunks: Mapping[int, Sequence[EncodedChunk]]) -> AsyncIterator[bytes]:
    """The input of COPY, piece by piece: the chunks of blobs, by the ids of these."""
    yield _SIGNATURE
    for blob_id, of_blob in chunks.items():
        begin = _BLOB.pack(len(COLUMNS), 8, blob_id)
        yield begin.join((b"", *of_blob))
    yield _END
