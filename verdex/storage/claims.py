"""What the last completed job of each repository says of the index that it published."""

from collections.abc import Collection
from typing import Final, NamedTuple

from verdex.storage.database import Database


class Repository(NamedTuple):
    """Which repository a row is about."""

    project_id: str
    repo_path: str


class Claim(NamedTuple):
    """What a completed job says of the index that it published."""

    job_id: str
    generation: int
    files_indexed: int
    files_skipped: int
    files_failed: int
    chunks_total: int
    manifest_digest: str  # SHA-256 in hex


REPOSITORIES: Final = """
repositories (project_id, repo_path) AS (
    SELECT id, (SELECT min(repo_path) FROM indexing_jobs WHERE project_id = projects.id) FROM projects
    UNION ALL
    SELECT project_id, (
        SELECT min(repo_path) FROM indexing_jobs
        WHERE project_id = repositories.project_id AND repo_path > repositories.repo_path)
    FROM repositories WHERE repo_path IS NOT NULL
)
"""
"""For `WITH RECURSIVE`: each repository from the one before it, and NULL after the last of a project.

DISTINCT would read every job."""
LAST_COMPLETED: Final = "completed_at DESC, generation DESC"
"""Which completed job is the last. By when they ended: one that is reset is a new job, which may keep its place."""

_ALL: Final = f"WITH RECURSIVE {REPOSITORIES} SELECT * FROM repositories WHERE repo_path IS NOT NULL"  # noqa: S608
_CLAIMS: Final = f"""
SELECT project_id, repo_path, claim.*
FROM unnest($1::text[], $2::text[]) AS repository (project_id, repo_path) CROSS JOIN LATERAL (
    SELECT {", ".join("id::text" if name == "job_id" else name for name in Claim._fields)} FROM indexing_jobs
    WHERE project_id = repository.project_id AND repo_path = repository.repo_path AND status = 'completed'
    ORDER BY {LAST_COMPLETED} LIMIT 1
) AS claim
"""  # noqa: S608  (names of columns only)


async def repositories(registry: Database) -> list[Repository]:
    """Every repository that has a job; none of projects that were dropped."""
    async with registry.connection() as connection:
        return [Repository(*row) for row in await connection.fetch(_ALL)]


async def claims(registry: Database, wanted: Collection[Repository]) -> dict[Repository, Claim]:
    """The claims of repositories; none for those of which no job has completed."""
    if not wanted:
        return {}
    async with registry.connection() as connection:
        rows = await connection.fetch(_CLAIMS, *map(list, zip(*wanted, strict=True)))
    return {Repository(*row[:2]): Claim(*row[2:]) for row in map(tuple, rows)}


async def claim(registry: Database, repository: Repository) -> Claim | None:
    """The claim of one repository; None where no job has completed."""
    return (await claims(registry, [repository])).get(repository)
