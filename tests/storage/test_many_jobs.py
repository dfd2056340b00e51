"""Among many jobs, the queries that read few find what those would that read all."""

from typing import Any

import pytest

from tests.storage.conftest import Crowd
from tests.storage.many_jobs import FILTERS
from verdex.storage.claims import Claim, claims, repositories
from verdex.storage.observation import Observation
from verdex.storage.registry import Registry

CLAIMS = f"""
SELECT DISTINCT ON (project_id, repo_path) project_id, repo_path, id::text, {", ".join(Claim._fields[1:])}
FROM indexing_jobs WHERE status = 'completed' AND project_id IN (SELECT id FROM projects)
ORDER BY project_id, repo_path, completed_at DESC, generation DESC
"""
HEALTH = """
WITH succeeded AS (
    SELECT project_id, repo_path, max(completed_at) AS last
    FROM indexing_jobs WHERE status = 'completed' GROUP BY project_id, repo_path
), failing AS (
    SELECT project_id, repo_path, min(completed_at) AS since
    FROM indexing_jobs LEFT JOIN succeeded USING (project_id, repo_path)
    WHERE status = 'failed' AND (last IS NULL OR completed_at > last) GROUP BY project_id, repo_path
)
SELECT id,
       (SELECT extract(epoch FROM min(last))::float8 FROM succeeded WHERE project_id = projects.id),
       (SELECT extract(epoch FROM min(since))::float8 FROM failing WHERE project_id = projects.id),
       (SELECT count(*) FROM failing WHERE project_id = projects.id)
FROM projects
"""


async def read(crowd: Crowd, query: str, *values: Any) -> list[tuple[Any, ...]]:
    async with crowd.server.registry.connection() as connection:
        return [tuple(row) for row in await connection.fetch(query, *values)]


@pytest.mark.parametrize("filters", FILTERS, ids=lambda filters: " ".join(map(str, filters.values())))
async def test_the_newest_jobs_are_found_by_any_filters(crowd: Crowd, filters: dict[str, Any]):
    given = {name: value for name, value in filters.items() if value is not None}
    where = " AND ".join([f"{name} = ${number}" for number, name in enumerate(given, start=1)] or ["true"])
    query = f"SELECT id::text FROM indexing_jobs WHERE {where} ORDER BY created_at DESC LIMIT 30"
    found = await Registry(crowd.server.registry).jobs(**filters, limit=30)
    assert [(job.job_id,) for job in found] == await read(crowd, query, *given.values())


@pytest.mark.parametrize("length", [1, 4, 8, 9, 11, 14, 24, 36])
async def test_ids_are_found_by_their_begin_and_by_their_end(crowd: Crowd, length: int):
    query = "SELECT id::text FROM indexing_jobs WHERE id::text LIKE $1 OR id::text LIKE $2 ORDER BY created_at DESC"
    for job_id in crowd.ids[::10]:
        for part in (job_id[:length], job_id[-length:]):
            found = await Registry(crowd.server.registry).ids(part, 5)
            matching = [one for (one,) in await read(crowd, query, f"{part}%", f"%{part}")]
            assert found == [one for one in matching if one in found]
            assert len(found) == min(5, len(matching))


@pytest.mark.parametrize("part", ["-", "0-", "%", "_", "g", "0" * 12, "0" * 40])
async def test_what_is_no_part_of_an_id_finds_none(crowd: Crowd, part: str):
    assert await Registry(crowd.server.registry).ids(part, 5) == []


async def test_the_claim_of_each_repository_is_that_of_the_job_that_completed_last(crowd: Crowd):
    registry = crowd.server.registry
    found = await claims(registry, await repositories(registry))
    assert {(*repository, *claim) for repository, claim in found.items()} == set(await read(crowd, CLAIMS))
    assert len(found) > 100


async def test_every_repository_is_found(crowd: Crowd):
    query = "SELECT DISTINCT project_id, repo_path FROM indexing_jobs WHERE project_id IN (SELECT id FROM projects)"
    assert set(await repositories(crowd.server.registry)) == set(await read(crowd, query))


async def test_the_health_of_each_project_is_found(crowd: Crowd):
    found = await Observation(crowd.server.registry).projects()
    assert set(map(tuple, found)) == set(await read(crowd, HEALTH))
    assert any(health.failing for health in found)


async def test_the_kinds_of_errors_are_found(crowd: Crowd):
    query = "SELECT DISTINCT status, error_type FROM indexing_jobs WHERE error_type IS NOT NULL"
    found = await Observation(crowd.server.registry).kinds()
    assert sorted(found) == sorted(await read(crowd, query))
