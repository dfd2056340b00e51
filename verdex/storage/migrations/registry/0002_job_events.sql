-- What happened to each job. The database writes it itself, so that no writer of a row can forget it.
CREATE TABLE job_events (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- the order of the events
    job_id  uuid NOT NULL REFERENCES indexing_jobs ON DELETE CASCADE,
    at      timestamptz NOT NULL,
    event   text NOT NULL
            CHECK (event IN ('created', 'running', 'blocked', 'completed', 'failed', 'cancelled')),
    phase   text,
    attempt integer NOT NULL,
    message text
);
CREATE INDEX job_events_by_job ON job_events (job_id, id);

-- Of jobs from before, all that is known is that they were created, and how they are now.
INSERT INTO job_events (job_id, at, event, attempt) SELECT id, created_at, 'created', 1 FROM indexing_jobs;
INSERT INTO job_events (job_id, at, event, phase, attempt, message)
SELECT id, coalesce(completed_at, started_at, created_at), status, phase, attempt, coalesce(error_message, status_message)
FROM indexing_jobs WHERE status <> 'pending';

CREATE FUNCTION write_job_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    latest timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.status, NEW.phase, NEW.attempt, NEW.status_message)
        IS NOT DISTINCT FROM (OLD.status, OLD.phase, OLD.attempt, OLD.status_message)
    THEN
        RETURN NULL;
    END IF;
    SELECT max(at) INTO latest FROM job_events WHERE job_id = NEW.id;
    INSERT INTO job_events (job_id, at, event, phase, attempt, message)
    VALUES (
        NEW.id,
        greatest(clock_timestamp(), latest),  -- a clock that is set back does not change the order
        CASE TG_OP WHEN 'INSERT' THEN 'created' ELSE NEW.status END,
        NEW.phase, NEW.attempt, coalesce(NEW.error_message, NEW.status_message)
    );
    RETURN NULL;
END $$;

CREATE TRIGGER write_job_event AFTER INSERT OR UPDATE ON indexing_jobs
    FOR EACH ROW EXECUTE FUNCTION write_job_event();

CREATE FUNCTION guard_job_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND pg_trigger_depth() > 1 THEN
        RETURN NEW;  -- by the trigger of the job
    END IF;
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM indexing_jobs WHERE id = OLD.job_id) THEN
        RETURN OLD;  -- with the job
    END IF;
    RAISE EXCEPTION 'the events of job % are written by the database, and stay', coalesce(NEW.job_id, OLD.job_id)
        USING ERRCODE = 'check_violation', CONSTRAINT = 'events_are_append_only';
END $$;

CREATE TRIGGER guard_job_event BEFORE INSERT OR UPDATE OR DELETE ON job_events
    FOR EACH ROW EXECUTE FUNCTION guard_job_event();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON job_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
