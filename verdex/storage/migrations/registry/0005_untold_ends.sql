-- The jobs that ended and of whose end no worker has logged a line yet. The database notes it in the transaction that
-- ends the job, whoever does that: a worker, a command, a person at psql. Who logs the line takes the note away; one
-- that dies before leaves it to the next.
CREATE TABLE untold_ends (
    job_id uuid PRIMARY KEY REFERENCES indexing_jobs ON DELETE CASCADE
);

CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO untold_ends (job_id) VALUES (NEW.id);
    RETURN NULL;
END $$;

-- What has ended is never updated again, so this happens once for each job.
CREATE TRIGGER note_end AFTER UPDATE ON indexing_jobs FOR EACH ROW
    WHEN (NEW.status IN ('completed', 'failed', 'cancelled'))
    EXECUTE FUNCTION note_end();
