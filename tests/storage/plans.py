"""The plans by which PostgreSQL really answered, with what each of their nodes read, from the log of the server.

Also those of triggers and foreign keys. `auto_explain` writes them, for every connection to a database.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from verdex.local.postgres import Postgres
from verdex.storage.database import Database

_OPTIONS: Final = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
}
_LOGGED: Final = re.compile(r"plan:\n((?:\t.*\n)+)")
_BLOCKS_PER_ROW: Final = 8
"""The levels of an index, and the row."""


Node: TypeAlias = dict[str, Any]


class Scan(NamedTuple):
    """What one node of a plan took from a table; all its loops together."""

    query: str
    node: str
    table: str
    by: str | None  # an index
    rows: float  # read, be they returned or not
    blocks: int  # of the table and its indexes, 8 KiB each
    loops: float

    def is_wasteful(self, limit: int) -> bool:
        """Whether it read more than `limit` rows, or much more of an index than it has rows from."""
        return self.node == "Seq Scan" or self.rows > limit or self.blocks > _BLOCKS_PER_ROW * (self.rows + self.loops)


async def log_plans(database: Database) -> None:
    """Have the plans of a database logged, from its next connections on."""
    async with database.connection() as connection:
        for option, value in _OPTIONS.items():
            await connection.execute(f"ALTER DATABASE \"{database.name}\" SET {option} = '{value}'")


class PlanLog:
    """Reads what was logged since it was made, or read the last time."""

    def __init__(self, postgres: Postgres) -> None:
        self._log = postgres.log
        self._read = self._log.stat().st_size

    def scans(self) -> list[Scan]:
        """All new scans of tables."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        self._read += len(text)
        plans = map(json.loads, _LOGGED.findall(text.decode()))
        return [scan for plan in plans for scan in _scans(plan["Query Text"], plan["Plan"], _run_once(plan["Plan"]))]


def _scans(query: str, node: Node, elsewhere: int) -> Iterator[Scan]:
    """`elsewhere` are the blocks of what is run once: they also count as those of the node that needs it first."""
    if "Relation Name" in node and node["Node Type"].endswith("Scan"):
        yield _scan(query, node, elsewhere)
    for below in _below(node):
        yield from _scans(query, below, elsewhere - _blocks(below) * _is_run_once(below))


def _scan(query: str, node: Node, elsewhere: int) -> Scan:
    loops = node["Actual Loops"]
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by "))
    of_others = [below for below in _below(node) if "Bitmap" not in below["Node Type"]]
    return Scan(
        " ".join(query.split()),
        node["Node Type"],
        node["Relation Name"],
        node.get("Index Name"),
        (node["Actual Rows"] + removed) * loops,
        max(_blocks(node) - sum(map(_blocks, of_others)) - elsewhere, 0),
        loops,
    )


def _run_once(node: Node) -> int:
    return sum(_run_once(below) + _blocks(below) * _is_run_once(below) for below in _below(node))


def _is_run_once(node: Node) -> bool:
    return bool(node["Parent Relationship"] == "InitPlan")


def _blocks(node: Node) -> int:
    """With those of the nodes below."""
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


def _below(node: Node) -> list[Node]:
    return list(node.get("Plans", ()))
