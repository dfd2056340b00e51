CREATE TABLE repositories (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path        text NOT NULL UNIQUE,
    generation  bigint NOT NULL DEFAULT 0 CHECK (generation >= 0),
    manifest_id bigint,  -- the published manifest: all that a search sees
    CHECK ((generation = 0) = (manifest_id IS NULL))
);

CREATE TABLE manifests (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id    bigint NOT NULL REFERENCES repositories,
    job_id           uuid NOT NULL UNIQUE,
    created_at       timestamptz NOT NULL DEFAULT now(),
    force_reindex    boolean NOT NULL,
    pipeline_version integer NOT NULL,
    base_generation  bigint NOT NULL,
    state            text NOT NULL DEFAULT 'open'
                     CHECK (state IN ('open', 'planned', 'published', 'abandoned')),
    generation       bigint CHECK (generation = base_generation + 1),
    result           jsonb,  -- the IndexResult that publishing gave
    UNIQUE (repository_id, generation),
    CHECK ((state = 'published') = (generation IS NOT NULL)),
    CHECK (state <> 'published' OR result IS NOT NULL)
);
CREATE INDEX manifests_by_repository ON manifests (repository_id, id);
ALTER TABLE repositories ADD FOREIGN KEY (manifest_id) REFERENCES manifests;

CREATE TABLE blobs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    content_hash     bytea NOT NULL CHECK (length(content_hash) = 32),  -- SHA-256
    language         text NOT NULL,  -- '' where there is no grammar
    pipeline_version integer NOT NULL,
    revision         bigint NOT NULL DEFAULT 0,  -- the manifest that forced it anew, else 0
    manifest_id      bigint NOT NULL,  -- the manifest for which it was chunked
    UNIQUE (content_hash, language, pipeline_version, revision)
);
CREATE INDEX blobs_by_manifest ON blobs (manifest_id);

CREATE TABLE chunks (
    blob_id    bigint NOT NULL REFERENCES blobs ON DELETE CASCADE,
    ordinal    integer NOT NULL CHECK (ordinal >= 0),
    start_line integer NOT NULL CHECK (start_line >= 1),
    end_line   integer NOT NULL CHECK (end_line >= start_line),
    kind       text NOT NULL,
    symbol     text,
    content    text NOT NULL,
    PRIMARY KEY (blob_id, ordinal)
);

CREATE TABLE files (
    manifest_id bigint NOT NULL REFERENCES manifests ON DELETE CASCADE,
    ordinal     integer NOT NULL,
    path        text NOT NULL,
    size        bigint NOT NULL CHECK (size >= 0),
    fingerprint text,     -- of the state that the outcome speaks of; NULL: read it again next time
    shard       integer,  -- NULL: settled by the scan
    outcome     text CHECK (outcome IN ('indexed', 'skipped', 'failed')),
    reason      text,
    blob_id     bigint REFERENCES blobs,
    PRIMARY KEY (manifest_id, ordinal),
    CHECK ((outcome IS NOT DISTINCT FROM 'indexed') = (blob_id IS NOT NULL)),
    CHECK (outcome IS NULL OR outcome = 'indexed' OR coalesce(reason ~ '\S', false)),
    CHECK (outcome IS NOT NULL OR shard IS NOT NULL)
);
CREATE INDEX files_left ON files (manifest_id, shard, ordinal) WHERE outcome IS NULL;
CREATE INDEX files_by_blob ON files (blob_id, manifest_id) WHERE blob_id IS NOT NULL;

-- A manifest is built up, then published or abandoned, once and for all.
CREATE FUNCTION guard_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.result IS NOT NULL AND OLD.state = 'open' THEN
        RAISE EXCEPTION 'manifest % has no plan yet', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.result IS NOT NULL AND EXISTS (
        SELECT FROM files WHERE manifest_id = NEW.id AND outcome IS NULL)
    THEN
        RAISE EXCEPTION 'manifest % has files without an outcome', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guard_manifest BEFORE INSERT OR UPDATE ON manifests
    FOR EACH ROW EXECUTE FUNCTION guard_manifest();

-- A repository goes from each generation to the next, and shows the manifest that was published as that one.
CREATE FUNCTION guard_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.generation, NEW.manifest_id) IS DISTINCT FROM (coalesce(OLD.generation, 0), OLD.manifest_id) AND NOT EXISTS (
        SELECT FROM manifests
        WHERE id = NEW.manifest_id AND repository_id = NEW.id
          AND state = 'published' AND generation = NEW.generation AND base_generation = coalesce(OLD.generation, 0))
    THEN
        RAISE EXCEPTION 'repository % can only show the manifest that was published as its next generation', NEW.path
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guard_repository BEFORE INSERT OR UPDATE ON repositories
    FOR EACH ROW EXECUTE FUNCTION guard_repository();
