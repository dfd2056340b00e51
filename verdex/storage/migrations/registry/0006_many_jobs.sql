-- However many jobs there are, each query reads only the rows that it returns, or a few for each repository.

-- One for every combination of filters, down to the status: jobs of any status are the newest of each status, merged.
-- Without the status, the newest failed job of a project that never failed would be looked for among all its jobs.
CREATE INDEX indexing_jobs_by_status ON indexing_jobs (status, created_at);
DROP INDEX indexing_jobs_unfinished;
CREATE INDEX indexing_jobs_by_project ON indexing_jobs (project_id, status, created_at);
CREATE INDEX indexing_jobs_by_path ON indexing_jobs (repo_path, status, created_at);
DROP INDEX indexing_jobs_by_repository;
CREATE INDEX indexing_jobs_by_repository ON indexing_jobs (project_id, repo_path, status, created_at);

-- The last success of a repository, and its first failure since.
CREATE INDEX indexing_jobs_by_end ON indexing_jobs (project_id, repo_path, status, completed_at, generation)
    WHERE status IN ('completed', 'failed');

-- The kinds of ends that there are.
CREATE INDEX indexing_jobs_by_error ON indexing_jobs (status, error_type) WHERE error_type IS NOT NULL;

-- People name a job by the end of its id.
CREATE INDEX indexing_jobs_by_end_of_id ON indexing_jobs (reverse(id::text) COLLATE "C");
