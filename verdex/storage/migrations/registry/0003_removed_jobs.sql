-- A job that was removed never comes back. Its workflow may be remembered for longer than its row, and a record of it may
-- come late: without its manifest, both would make it a job that failed.
CREATE TABLE removed_jobs (
    id         uuid PRIMARY KEY,
    removed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX removed_jobs_by_time ON removed_jobs (removed_at);

CREATE FUNCTION remember_removed_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO removed_jobs (id) VALUES (OLD.id);
    RETURN NULL;
END $$;

CREATE TRIGGER remember_removed_job AFTER DELETE ON indexing_jobs
    FOR EACH ROW EXECUTE FUNCTION remember_removed_job();

CREATE FUNCTION refuse_removed_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM removed_jobs WHERE id = NEW.id) THEN
        RAISE EXCEPTION 'job % had ended and was removed', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'removed_is_final';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER refuse_removed_job BEFORE INSERT ON indexing_jobs
    FOR EACH ROW EXECUTE FUNCTION refuse_removed_job();
