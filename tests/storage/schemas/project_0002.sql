SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.guard_manifest() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.guard_repository() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.blobs (
    id bigint NOT NULL,
    content_hash bytea NOT NULL,
    language text NOT NULL,
    pipeline_version integer NOT NULL,
    revision bigint DEFAULT 0 NOT NULL,
    manifest_id bigint NOT NULL,
    CONSTRAINT blobs_content_hash_check CHECK ((length(content_hash) = 32))
);
ALTER TABLE public.blobs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.blobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.chunks (
    blob_id bigint NOT NULL,
    ordinal integer NOT NULL,
    start_line integer NOT NULL,
    end_line integer NOT NULL,
    kind text NOT NULL,
    symbol text,
    content text NOT NULL,
    lexemes tsvector NOT NULL,
    CONSTRAINT chunks_check CHECK ((end_line >= start_line)),
    CONSTRAINT chunks_ordinal_check CHECK ((ordinal >= 0)),
    CONSTRAINT chunks_start_line_check CHECK ((start_line >= 1))
);
CREATE TABLE public.files (
    manifest_id bigint NOT NULL,
    ordinal integer NOT NULL,
    path text NOT NULL,
    size bigint NOT NULL,
    fingerprint text,
    shard integer,
    outcome text,
    reason text,
    blob_id bigint,
    CONSTRAINT files_check CHECK (((NOT (outcome IS DISTINCT FROM 'indexed'::text)) = (blob_id IS NOT NULL))),
    CONSTRAINT files_check1 CHECK (((outcome IS NULL) OR (outcome = 'indexed'::text) OR COALESCE((reason ~ '\S'::text), false))),
    CONSTRAINT files_check2 CHECK (((outcome IS NOT NULL) OR (shard IS NOT NULL))),
    CONSTRAINT files_outcome_check CHECK ((outcome = ANY (ARRAY['indexed'::text, 'skipped'::text, 'failed'::text]))),
    CONSTRAINT files_size_check CHECK ((size >= 0))
);
CREATE TABLE public.manifests (
    id bigint NOT NULL,
    repository_id bigint NOT NULL,
    job_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    force_reindex boolean NOT NULL,
    pipeline_version integer NOT NULL,
    base_generation bigint NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    generation bigint,
    result jsonb,
    CONSTRAINT manifests_check CHECK ((generation = (base_generation + 1))),
    CONSTRAINT manifests_check1 CHECK (((state = 'published'::text) = (generation IS NOT NULL))),
    CONSTRAINT manifests_check2 CHECK (((state <> 'published'::text) OR (result IS NOT NULL))),
    CONSTRAINT manifests_state_check CHECK ((state = ANY (ARRAY['open'::text, 'planned'::text, 'published'::text, 'abandoned'::text])))
);
ALTER TABLE public.manifests ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.manifests_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.repositories (
    id bigint NOT NULL,
    path text NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    manifest_id bigint,
    CONSTRAINT repositories_check CHECK (((generation = 0) = (manifest_id IS NULL))),
    CONSTRAINT repositories_generation_check CHECK ((generation >= 0))
);
ALTER TABLE public.repositories ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.repositories_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
COPY public.blobs (id, content_hash, language, pipeline_version, revision, manifest_id) FROM stdin;
1	\\x0efea72b4749dd166f867d5443e88afcee0a7e1b2b2374471c3455fba292e471		1	0	1
2	\\xf1c7e8b1f5d758209e9387d0f46acd399f9f1edbdae85494c35192a990f9fa07		1	0	1
3	\\xdfc35aa4040e9f99bfa3bcfc8bb7ab32480d04bf5b443bbe2f911027f8d8624f		1	0	2
\.
COPY public.chunks (blob_id, ordinal, start_line, end_line, kind, symbol, content, lexemes) FROM stdin;
1	0	1	1	block	\N	/srv/first	'first':1C 'srv':1C
1	1	2	2	block	\N	one	'one':1C
2	0	1	1	block	\N	/srv/first	'first':1C 'srv':1C
2	1	2	2	block	\N	two	'two':1C
3	0	1	1	block	\N	/srv/first	'first':1C 'srv':1C
3	1	2	2	block	\N	three	'thre':1C
\.
COPY public.files (manifest_id, ordinal, path, size, fingerprint, shard, outcome, reason, blob_id) FROM stdin;
1	0	a.py	3	state of one	0	indexed	\N	1
1	1	b.py	3	state of two	0	indexed	\N	2
1	2	c.bin	0	state of 	0	skipped	was skipped	\N
1	3	d.py	0	state of 	0	failed	was failed	\N
2	0	a.py	3	state of one	\N	indexed	\N	1
2	2	c.bin	0	state of 	\N	skipped	was skipped	\N
2	1	b.py	5	state of three	0	indexed	\N	3
2	3	d.py	0	state of 	0	failed	was failed	\N
2	4	e.py	3	state of one	0	indexed	\N	1
3	0	a.py	3	state of one	0	\N	\N	\N
\.
COPY public.manifests (id, repository_id, job_id, created_at, force_reindex, pipeline_version, base_generation, state, generation, result) FROM stdin;
1	1	70147586-8076-4f8c-94d1-45e7ce82c2d1	2026-11-28 10:26:05.626637+00	f	1	0	published	1	{"errors": ["1 of 4 files could not be indexed: d.py: was failed", "d.py: was failed"], "status": "partial", "error_type": "FilesFailed", "generation": 1, "files_added": 2, "files_total": 4, "chunks_total": 4, "files_failed": 1, "files_changed": 0, "files_deleted": 0, "files_indexed": 2, "files_skipped": 1, "chunks_created": 4, "files_unchanged": 0, "manifest_digest": "6a01398afb7a39df670902465e54209fb81f95d31114eca6dc8ca97958e55747", "duration_seconds": 0.0}
2	1	723dbcd3-0f09-437e-b3b0-047891d76a52	2026-11-28 10:26:05.716987+00	f	1	1	published	2	{"errors": ["1 of 5 files could not be indexed: d.py: was failed", "d.py: was failed"], "status": "partial", "error_type": "FilesFailed", "generation": 2, "files_added": 1, "files_total": 5, "chunks_total": 4, "files_failed": 1, "files_changed": 1, "files_deleted": 0, "files_indexed": 3, "files_skipped": 1, "chunks_created": 2, "files_unchanged": 1, "manifest_digest": "eefde4b7e9437484bfb4bd5232d085ed7fa57e95bbf91151464ff058bb9ee2c4", "duration_seconds": 0.0}
3	3	cc374e8b-6861-48f5-b2ff-d4a637c15095	2026-11-28 10:26:05.740043+00	f	1	0	planned	\N	\N
\.
COPY public.repositories (id, path, generation, manifest_id) FROM stdin;
1	/srv/first	2	2
3	/srv/second	0	\N
\.
COPY public.schema_migrations (version, name, applied_at) FROM stdin;
1	0001_project.sql	2026-11-28 10:26:05.583119+00
2	0002_search.sql	2026-11-28 10:26:05.583119+00
\.
SELECT pg_catalog.setval('public.blobs_id_seq', 3, true);
SELECT pg_catalog.setval('public.manifests_id_seq', 3, true);
SELECT pg_catalog.setval('public.repositories_id_seq', 3, true);
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_content_hash_language_pipeline_version_revision_key UNIQUE (content_hash, language, pipeline_version, revision);
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (blob_id, ordinal);
ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_pkey PRIMARY KEY (manifest_id, ordinal);
ALTER TABLE ONLY public.manifests
    ADD CONSTRAINT manifests_job_id_key UNIQUE (job_id);
ALTER TABLE ONLY public.manifests
    ADD CONSTRAINT manifests_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.manifests
    ADD CONSTRAINT manifests_repository_id_generation_key UNIQUE (repository_id, generation);
ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_path_key UNIQUE (path);
ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
CREATE INDEX blobs_by_manifest ON public.blobs USING btree (manifest_id);
CREATE INDEX chunks_by_lexeme ON public.chunks USING gin (lexemes);
CREATE INDEX files_by_blob ON public.files USING btree (blob_id, manifest_id) WHERE (blob_id IS NOT NULL);
CREATE INDEX files_by_ending ON public.files USING btree (manifest_id, "left"(reverse(lower(('/'::text || path))), 200) COLLATE "C") WHERE (blob_id IS NOT NULL);
CREATE INDEX files_left ON public.files USING btree (manifest_id, shard, ordinal) WHERE (outcome IS NULL);
CREATE INDEX manifests_by_repository ON public.manifests USING btree (repository_id, id);
CREATE TRIGGER guard_manifest BEFORE INSERT OR UPDATE ON public.manifests FOR EACH ROW EXECUTE FUNCTION public.guard_manifest();
CREATE TRIGGER guard_repository BEFORE INSERT OR UPDATE ON public.repositories FOR EACH ROW EXECUTE FUNCTION public.guard_repository();
ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES public.blobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES public.blobs(id);
ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_manifest_id_fkey FOREIGN KEY (manifest_id) REFERENCES public.manifests(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.manifests
    ADD CONSTRAINT manifests_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);
ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_manifest_id_fkey FOREIGN KEY (manifest_id) REFERENCES public.manifests(id);
