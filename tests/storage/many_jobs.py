"""A registry as it is after very many jobs, written by SQL; the database checks each row as any other."""

from itertools import product
from typing import Any, Final, get_args

from verdex.contracts import JobStatus
from verdex.storage.database import Database

QUIET, BUSY, USUAL = "quiet", "busy", "usual-7"
"""Projects: in the first, all jobs completed, the last of them long ago; in the second, they failed at the very begin,
and have completed since; of the third kind there are forty."""
BUSY_REPOSITORY: Final = "/srv/busy"
"""The one repository of `BUSY`, which has a tenth of all jobs. `QUIET` has one by the same path."""
USUAL_REPOSITORY: Final = "/home/somebody/repositories/number-7"
SECONDS_APART: Final = 30
JOBS: Final = 20_000
"""So many that PostgreSQL answers as if there were a million, and few enough to be written in a moment."""
FILTERS: Final[list[dict[str, Any]]] = [
    dict(zip(("project_id", "status", "repo_path"), values, strict=True))
    for values in product(
        [None, QUIET, BUSY, USUAL, "unknown"],
        [None, *get_args(JobStatus)],
        [None, BUSY_REPOSITORY, USUAL_REPOSITORY, "/unknown"],
    )
]
"""Every combination, also of what only old jobs have, or none."""

_PROJECTS: Final = """
INSERT INTO projects (id, database_name)
SELECT id, 'cb_proj_' || replace(id, '-', '_')
FROM (SELECT 'usual-' || generate_series(0, 39) UNION SELECT unnest('{quiet,busy}'::text[])) AS project (id)
"""
_JOBS: Final = """
INSERT INTO indexing_jobs (
    id, workflow_id, project_id, repo_path, force_reindex, trace_id, status, status_message, phase, result_status,
    error_message, error_type, errors, files_total, files_done, files_indexed, files_added, files_unchanged,
    files_failed, chunks_created, chunks_total, generation, manifest_digest, created_at, started_at, completed_at)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
    'index:' || project || ':' || md5(path), project, path, false, md5(n::text), status,
    CASE status WHEN 'blocked' THEN 'connection refused' END,
    CASE WHEN status <> 'pending' THEN 'index' END,
    CASE WHEN partial THEN 'partial' WHEN completed THEN 'success' WHEN status = 'failed' THEN 'failed' END,
    error, CASE WHEN partial THEN 'FilesFailed' WHEN error IS NOT NULL THEN 'Trouble' || n % 9 END,
    array_remove(ARRAY[error], NULL),
    files, CASE WHEN completed THEN files ELSE 0 END, indexed, indexed / 2, indexed - indexed / 2,
    CASE WHEN partial THEN 1 ELSE 0 END, indexed, 7 * indexed,
    CASE WHEN completed THEN n END, CASE WHEN completed THEN repeat(md5(n::text), 2) END,
    at, CASE WHEN status <> 'pending' THEN at + interval '1 s' END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN at + (2 + 30 * chance) * interval '1 s' END
FROM generate_series(1, $1) AS n CROSS JOIN LATERAL (
    SELECT now() - ($1 - n) * $2 * interval '1 s' AS at,
           (hashint4extended(n, 1) & 65535) / 65536.0 AS chance,
           ((hashint4extended(n, 2) & 65535) / 65536.0) ^ 2 * ($1 / 200) AS place
) AS drawn CROSS JOIN LATERAL (
    SELECT CASE WHEN n % 10 = 1 THEN 'busy' WHEN n % 10 = 2 AND n < $1 / 2 THEN 'quiet'
           ELSE 'usual-' || floor(place) % 40 END AS project
) AS placed CROSS JOIN LATERAL (
    SELECT CASE WHEN project = 'busy' OR project = 'quiet' AND n % 3 = 0 THEN '/srv/busy'
           ELSE '/home/somebody/repositories/number-' || floor(place) END AS path,
           CASE WHEN n > $1 - 2 THEN 'pending' WHEN n > $1 - 4 THEN 'blocked' WHEN n > $1 - 12 THEN 'running'
                WHEN project = 'quiet' OR project = 'busy' AND n > 200 THEN 'completed'
                WHEN project = 'busy' OR chance < 0.07 THEN 'failed'
                WHEN chance < 0.1 THEN 'cancelled' ELSE 'completed' END AS status
) AS ended CROSS JOIN LATERAL (
    SELECT 2 + n % 1000 AS files, status = 'completed' AS completed, status = 'completed' AND n % 20 = 5 AS partial
) AS counted CROSS JOIN LATERAL (
    SELECT CASE WHEN partial THEN files - 1 WHEN completed THEN files ELSE 0 END AS indexed,
           CASE WHEN partial OR status = 'failed' THEN 'trouble ' || n END AS error
) AS told
ORDER BY n
"""
_EVENTS: Final = """
INSERT INTO job_events (job_id, at, event, phase, attempt, message)
SELECT id, at, event, happened.phase, 1, error_message
FROM indexing_jobs CROSS JOIN LATERAL (
    VALUES (created_at, 'created', NULL), (started_at, 'running', 'preflight'), (started_at, 'running', 'scan'),
           (started_at, 'running', 'index'), (coalesce(completed_at, started_at), status, indexing_jobs.phase)
) AS happened (at, event, phase)
WHERE at IS NOT NULL
ORDER BY created_at, at
"""
_REMOVED: Final = """
INSERT INTO removed_jobs SELECT gen_random_uuid(), now() - n % 300 * interval '1 day' FROM generate_series(1, $1) AS n
"""


async def fill(database: Database, jobs: int) -> None:
    """Write so many jobs, the newest of now, with their events, into a registry that is empty.

    They are of about a two-hundredth as many repositories. As many jobs again are known to be removed.
    """
    async with database.transaction() as connection:
        # The triggers would refuse a job that begins as completed, and write that all of it happened now.
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(_PROJECTS)
        for statement, values in ((_JOBS, (jobs, SECONDS_APART)), (_EVENTS, ()), (_REMOVED, (jobs,))):
            await connection.execute(statement, *values, timeout=3600)
    async with database.connection() as connection:
        await connection.execute("VACUUM ANALYZE", timeout=3600)
