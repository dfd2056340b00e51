"""The query for the newest jobs, by any of the columns that have an index with the status."""

from collections.abc import Mapping
from typing import Final, get_args

from verdex.contracts import JobStatus

STATUSES: Final = f"'{{{','.join(get_args(JobStatus))}}}'::text[]"
"""All of them, in SQL."""


def newest(columns: str, where: Mapping[str, str], *, limit: str, statuses: str = STATUSES) -> str:
    """A SELECT of `columns` from those jobs that have the values and one of the statuses, the newest first.

    `where` maps columns to values; these, `limit` and `statuses` are SQL. Each status is asked for apart, and rows are
    compared as a whole, which only the index over just these columns can answer. Where values are equal to something,
    PostgreSQL may as well go back in time through the jobs of everybody, which are all jobs if the last one that
    matches is long ago.
    """
    keys = [*where, "status", "created_at"]
    values = ", ".join([*where.values(), "wanted"])
    return f"""
    SELECT {columns} FROM unnest({statuses}) AS wanted CROSS JOIN LATERAL (
        SELECT * FROM indexing_jobs
        WHERE ({", ".join(keys)}) BETWEEN ({values}, '-infinity') AND ({values}, 'infinity')
        ORDER BY {", ".join(f"{key} DESC" for key in keys)} LIMIT {limit}
    ) AS found
    ORDER BY created_at DESC LIMIT {limit}
    """  # noqa: S608  (names of columns and parameters)
