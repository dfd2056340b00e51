-- What vectors are made with. The tables that hold them need an extension, and are made with the first embedder
-- (verdex/storage/vectors.py).
CREATE TABLE embedders (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    embedder jsonb NOT NULL UNIQUE
);

-- An embedder is a part of what made a manifest and its blobs, as the version of the pipeline is; NULL: none.
ALTER TABLE manifests ADD COLUMN embedder_id integer REFERENCES embedders;
ALTER TABLE blobs ADD COLUMN embedder_id integer REFERENCES embedders;
ALTER TABLE blobs
    DROP CONSTRAINT blobs_content_hash_language_pipeline_version_revision_key,
    ADD CONSTRAINT blobs_are_made_once
        UNIQUE NULLS NOT DISTINCT (content_hash, language, pipeline_version, embedder_id, revision);

-- As before; and a manifest of an embedder has a vector for each of its chunks.
CREATE OR REPLACE FUNCTION guard_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'open' THEN
            RAISE EXCEPTION 'manifest % cannot begin as %', NEW.id, NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state IN ('published', 'abandoned') AND NEW IS DISTINCT FROM OLD THEN
        RAISE EXCEPTION 'manifest % is %: that is final', OLD.id, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.embedder_id IS DISTINCT FROM OLD.embedder_id THEN
        RAISE EXCEPTION 'manifest % cannot change its embedder', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.result IS NOT NULL AND OLD.state = 'open' THEN
        RAISE EXCEPTION 'manifest % has no plan yet', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.result IS NOT NULL AND EXISTS (
        SELECT FROM files WHERE manifest_id = NEW.id AND outcome IS NULL)
    THEN
        RAISE EXCEPTION 'manifest % has files without an outcome', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.result IS NOT NULL AND NEW.embedder_id IS NOT NULL THEN  -- else there may be no such table
        IF EXISTS (
            SELECT FROM files JOIN chunks USING (blob_id)
            LEFT JOIN chunk_vectors AS of_chunk ON of_chunk.blob_id = chunks.blob_id
                AND of_chunk.ordinal = chunks.ordinal AND of_chunk.embedder_id = NEW.embedder_id
            WHERE files.manifest_id = NEW.id AND of_chunk.blob_id IS NULL)
        THEN
            RAISE EXCEPTION 'manifest % has chunks without a vector', NEW.id USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
