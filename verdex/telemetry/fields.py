"""Values of any kind as what a log line can hold: JSON, bounded in size and depth, without secrets."""

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from verdex.telemetry.redaction import redact

TEXT_LIMIT: Final = 8_000
"""Characters of a text; the middle of a longer one is left out, for a traceback tells most at its end."""
ITEMS_LIMIT: Final = 100
DEPTH_LIMIT: Final = 6
INTEGER_BITS: Final = 1_024

_REDACTED_AT_ONCE: Final = 8 * TEXT_LIMIT


def cleaned(value: object, depth: int = 0) -> object:
    """`value` as JSON; what JSON has no form for as text. Never raises."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if _is_plain_number(value) else _bounded(text_of(value))
    if isinstance(value, str) or depth == DEPTH_LIMIT:
        return _bounded(text_of(value))
    try:
        return _cleaned_inside(value, depth)
    except Exception:  # noqa: BLE001  (a container of somebody else's that cannot be walked through)
        return _bounded(text_of(value))


def _cleaned_inside(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        items = islice(value.items(), ITEMS_LIMIT)
        return {_bounded(text_of(key)): cleaned(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        items_of_any: Iterable[object] = islice(value, ITEMS_LIMIT)
        return [cleaned(item, depth + 1) for item in items_of_any]
    return _bounded(text_of(value))


def text_of(value: object) -> str:
    """`str(value)`, or what there is to say where that raises."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  (a line is never lost for one of its fields)
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _is_plain_number(value: float) -> bool:
    return value.bit_length() <= INTEGER_BITS if isinstance(value, int) else math.isfinite(value)


def _bounded(text: str) -> str:
    """Redacted before it is cut, or a part of a secret would stay that nobody can tell from other text."""
    if len(text) > _REDACTED_AT_ONCE:  # both cuts are far inside of what is left out below
        half = _REDACTED_AT_ONCE // 2
        return _shortened(redact(text[:half]), redact(text[-half:]), len(text))
    text = redact(text)
    return _shortened(text, text, len(text)) if len(text) > TEXT_LIMIT else text


def _shortened(begin: str, end: str, length: int) -> str:
    half = TEXT_LIMIT // 2
    return f"{begin[:half]} … {length - TEXT_LIMIT:,} characters left out … {end[-half:]}"
