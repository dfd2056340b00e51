CREATE TABLE projects (
    id            text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,54}$'),
    database_name text NOT NULL UNIQUE CHECK (database_name = 'cb_proj_' || replace(id, '-', '_')),
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE indexing_jobs (
    id               uuid PRIMARY KEY,
    workflow_id      text NOT NULL CHECK (workflow_id <> ''),
    project_id       text NOT NULL CHECK (project_id <> ''),
    repo_path        text NOT NULL CHECK (repo_path <> ''),
    force_reindex    boolean NOT NULL,
    trace_id         text NOT NULL CHECK (trace_id ~ '^[0-9a-f]{32}$' AND trace_id <> repeat('0', 32)),
    status           text NOT NULL
                     CHECK (status IN ('pending', 'running', 'blocked', 'completed', 'failed', 'cancelled')),
    result_status    text CHECK (result_status IN ('success', 'partial', 'failed')),
    status_message   text,
    phase            text CHECK (phase IN ('preflight', 'scan', 'index', 'publish')),
    error_message    text,
    error_type       text,
    errors           text[] NOT NULL DEFAULT '{}',
    files_total      bigint NOT NULL DEFAULT 0 CHECK (files_total >= 0),
    files_done       bigint NOT NULL DEFAULT 0 CHECK (files_done >= 0),
    files_indexed    bigint NOT NULL DEFAULT 0 CHECK (files_indexed >= 0),
    files_added      bigint NOT NULL DEFAULT 0 CHECK (files_added >= 0),
    files_changed    bigint NOT NULL DEFAULT 0 CHECK (files_changed >= 0),
    files_deleted    bigint NOT NULL DEFAULT 0 CHECK (files_deleted >= 0),
    files_unchanged  bigint NOT NULL DEFAULT 0 CHECK (files_unchanged >= 0),
    files_skipped    bigint NOT NULL DEFAULT 0 CHECK (files_skipped >= 0),
    files_failed     bigint NOT NULL DEFAULT 0 CHECK (files_failed >= 0),
    chunks_created   bigint NOT NULL DEFAULT 0 CHECK (chunks_created >= 0),
    chunks_total     bigint NOT NULL DEFAULT 0 CHECK (chunks_total >= 0),
    attempt          integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    revision         integer NOT NULL DEFAULT 0,
    generation       bigint CHECK (generation > 0),
    manifest_digest  text CHECK (manifest_digest ~ '^[0-9a-f]{64}$'),  -- SHA-256 over what was published
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    completed_at     timestamptz,
    duration_seconds double precision
                     GENERATED ALWAYS AS (EXTRACT(EPOCH FROM completed_at - started_at)) STORED,

    -- Each of these refuses one kind of lie. A CHECK lets NULL pass: what must be there is coalesced.
    CONSTRAINT times_are_finite CHECK (
        isfinite(created_at) AND isfinite(started_at) AND isfinite(completed_at)),
    CONSTRAINT times_are_in_order CHECK (
        created_at <= started_at AND created_at <= completed_at AND started_at <= completed_at),
    CONSTRAINT done_fits_the_total CHECK (files_done <= files_total),
    CONSTRAINT terminal_has_an_end CHECK (
        (status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
    CONSTRAINT running_has_a_start CHECK (
        status IN ('pending', 'failed', 'cancelled') OR started_at IS NOT NULL),
    CONSTRAINT blocked_says_why CHECK (
        status <> 'blocked' OR coalesce(status_message ~ '\S', false)),
    CONSTRAINT failed_says_why CHECK (
        status <> 'failed'
        OR coalesce(result_status = 'failed' AND error_message ~ '\S' AND error_type ~ '\S', false)),
    CONSTRAINT only_an_end_has_a_result CHECK (
        result_status IS NULL OR status IN ('completed', 'failed')),
    CONSTRAINT only_a_result_has_an_error CHECK (
        status IN ('completed', 'failed', 'cancelled')
        OR (error_message IS NULL AND error_type IS NULL AND errors = '{}')),
    CONSTRAINT errors_are_texts CHECK (array_position(errors, NULL) IS NULL),
    CONSTRAINT outcomes_fit_the_total CHECK (files_skipped + files_failed <= files_total),
    CONSTRAINT only_completed_has_an_index CHECK (
        status = 'completed'
        OR (files_added, files_changed, files_deleted, files_unchanged, chunks_created, chunks_total)
            = (0, 0, 0, 0, 0, 0)),
    CONSTRAINT completed_is_published CHECK (
        (status = 'completed') = (generation IS NOT NULL)),
    CONSTRAINT completed_has_a_digest CHECK (
        (status = 'completed') = (manifest_digest IS NOT NULL)),
    CONSTRAINT completed_holds_files CHECK (
        (status = 'completed') = (files_indexed > 0)),
    CONSTRAINT completed_adds_up CHECK (
        status <> 'completed'
        OR (files_indexed + files_skipped + files_failed = files_total
            AND files_added + files_changed + files_unchanged = files_indexed
            AND files_done = files_total)),
    CONSTRAINT completed_is_success_or_partial CHECK (
        status <> 'completed'
        OR coalesce(
            (result_status = 'success' AND files_failed = 0
             AND error_message IS NULL AND error_type IS NULL AND errors = '{}')
            OR (result_status = 'partial' AND files_failed > 0
                AND error_message ~ '\S' AND error_type ~ '\S' AND cardinality(errors) > 0),
            false))
);

CREATE INDEX indexing_jobs_by_time ON indexing_jobs (created_at DESC);
CREATE INDEX indexing_jobs_by_repository ON indexing_jobs (project_id, repo_path, created_at DESC);
CREATE INDEX indexing_jobs_unfinished ON indexing_jobs (created_at)
    WHERE status IN ('pending', 'running', 'blocked');

CREATE FUNCTION guard_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    terminal CONSTANT text[] := '{completed,failed,cancelled}';
    allowed CONSTANT jsonb := '{
        "pending": ["pending", "running", "failed", "cancelled"],
        "running": ["running", "blocked", "completed", "failed", "cancelled"],
        "blocked": ["blocked", "running", "failed", "cancelled"]
    }';
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' THEN
            RAISE EXCEPTION 'job % cannot begin as %: a job begins as pending', NEW.id, NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'job_begins_pending';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.status <> ALL (terminal) THEN
            RAISE EXCEPTION 'job % is %: only a job that has ended can be deleted', OLD.id, OLD.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'only_ended_jobs_are_deleted';
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.status = ANY (terminal) THEN
        RAISE EXCEPTION 'job % is %: that is final', OLD.id, OLD.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'terminal_is_final';
    END IF;
    IF NOT allowed -> OLD.status ? NEW.status THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transition_is_allowed';
    END IF;
    IF (NEW.id, NEW.workflow_id, NEW.project_id, NEW.repo_path, NEW.force_reindex, NEW.trace_id, NEW.created_at)
        IS DISTINCT FROM
       (OLD.id, OLD.workflow_id, OLD.project_id, OLD.repo_path, OLD.force_reindex, OLD.trace_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'job % cannot change its identity', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guard_job BEFORE INSERT OR UPDATE OR DELETE ON indexing_jobs
    FOR EACH ROW EXECUTE FUNCTION guard_job();

CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% cannot be truncated: it is a record', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_are_not_truncated';
END $$;

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON indexing_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
