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
CREATE FUNCTION public.guard_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.guard_job_event() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.note_end() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO untold_ends (job_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE FUNCTION public.refuse_removed_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM removed_jobs WHERE id = NEW.id) THEN
        RAISE EXCEPTION 'job % had ended and was removed', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'removed_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION public.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% cannot be truncated: it is a record', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_are_not_truncated';
END $$;
CREATE FUNCTION public.remember_removed_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO removed_jobs (id) VALUES (OLD.id);
    RETURN NULL;
END $$;
CREATE FUNCTION public.write_job_event() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.indexing_jobs (
    id uuid NOT NULL,
    workflow_id text NOT NULL,
    project_id text NOT NULL,
    repo_path text NOT NULL,
    force_reindex boolean NOT NULL,
    trace_id text NOT NULL,
    status text NOT NULL,
    result_status text,
    status_message text,
    phase text,
    error_message text,
    error_type text,
    errors text[] DEFAULT '{}'::text[] NOT NULL,
    files_total bigint DEFAULT 0 NOT NULL,
    files_done bigint DEFAULT 0 NOT NULL,
    files_indexed bigint DEFAULT 0 NOT NULL,
    files_added bigint DEFAULT 0 NOT NULL,
    files_changed bigint DEFAULT 0 NOT NULL,
    files_deleted bigint DEFAULT 0 NOT NULL,
    files_unchanged bigint DEFAULT 0 NOT NULL,
    files_skipped bigint DEFAULT 0 NOT NULL,
    files_failed bigint DEFAULT 0 NOT NULL,
    chunks_created bigint DEFAULT 0 NOT NULL,
    chunks_total bigint DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    generation bigint,
    manifest_digest text,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    duration_seconds double precision GENERATED ALWAYS AS (EXTRACT(epoch FROM (completed_at - started_at))) STORED,
    CONSTRAINT blocked_says_why CHECK (((status <> 'blocked'::text) OR COALESCE((status_message ~ '\S'::text), false))),
    CONSTRAINT completed_adds_up CHECK (((status <> 'completed'::text) OR ((((files_indexed + files_skipped) + files_failed) = files_total) AND (((files_added + files_changed) + files_unchanged) = files_indexed) AND (files_done = files_total)))),
    CONSTRAINT completed_has_a_digest CHECK (((status = 'completed'::text) = (manifest_digest IS NOT NULL))),
    CONSTRAINT completed_holds_files CHECK (((status = 'completed'::text) = (files_indexed > 0))),
    CONSTRAINT completed_is_published CHECK (((status = 'completed'::text) = (generation IS NOT NULL))),
    CONSTRAINT completed_is_success_or_partial CHECK (((status <> 'completed'::text) OR COALESCE((((result_status = 'success'::text) AND (files_failed = 0) AND (error_message IS NULL) AND (error_type IS NULL) AND (errors = '{}'::text[])) OR ((result_status = 'partial'::text) AND (files_failed > 0) AND (error_message ~ '\S'::text) AND (error_type ~ '\S'::text) AND (cardinality(errors) > 0))), false))),
    CONSTRAINT done_fits_the_total CHECK ((files_done <= files_total)),
    CONSTRAINT errors_are_texts CHECK ((array_position(errors, NULL::text) IS NULL)),
    CONSTRAINT failed_says_why CHECK (((status <> 'failed'::text) OR COALESCE(((result_status = 'failed'::text) AND (error_message ~ '\S'::text) AND (error_type ~ '\S'::text)), false))),
    CONSTRAINT indexing_jobs_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT indexing_jobs_chunks_created_check CHECK ((chunks_created >= 0)),
    CONSTRAINT indexing_jobs_chunks_total_check CHECK ((chunks_total >= 0)),
    CONSTRAINT indexing_jobs_files_added_check CHECK ((files_added >= 0)),
    CONSTRAINT indexing_jobs_files_changed_check CHECK ((files_changed >= 0)),
    CONSTRAINT indexing_jobs_files_deleted_check CHECK ((files_deleted >= 0)),
    CONSTRAINT indexing_jobs_files_done_check CHECK ((files_done >= 0)),
    CONSTRAINT indexing_jobs_files_failed_check CHECK ((files_failed >= 0)),
    CONSTRAINT indexing_jobs_files_indexed_check CHECK ((files_indexed >= 0)),
    CONSTRAINT indexing_jobs_files_skipped_check CHECK ((files_skipped >= 0)),
    CONSTRAINT indexing_jobs_files_total_check CHECK ((files_total >= 0)),
    CONSTRAINT indexing_jobs_files_unchanged_check CHECK ((files_unchanged >= 0)),
    CONSTRAINT indexing_jobs_generation_check CHECK ((generation > 0)),
    CONSTRAINT indexing_jobs_manifest_digest_check CHECK ((manifest_digest ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT indexing_jobs_phase_check CHECK ((phase = ANY (ARRAY['preflight'::text, 'scan'::text, 'index'::text, 'publish'::text]))),
    CONSTRAINT indexing_jobs_project_id_check CHECK ((project_id <> ''::text)),
    CONSTRAINT indexing_jobs_repo_path_check CHECK ((repo_path <> ''::text)),
    CONSTRAINT indexing_jobs_result_status_check CHECK ((result_status = ANY (ARRAY['success'::text, 'partial'::text, 'failed'::text]))),
    CONSTRAINT indexing_jobs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'blocked'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT indexing_jobs_trace_id_check CHECK (((trace_id ~ '^[0-9a-f]{32}$'::text) AND (trace_id <> repeat('0'::text, 32)))),
    CONSTRAINT indexing_jobs_workflow_id_check CHECK ((workflow_id <> ''::text)),
    CONSTRAINT only_a_result_has_an_error CHECK (((status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])) OR ((error_message IS NULL) AND (error_type IS NULL) AND (errors = '{}'::text[])))),
    CONSTRAINT only_an_end_has_a_result CHECK (((result_status IS NULL) OR (status = ANY (ARRAY['completed'::text, 'failed'::text])))),
    CONSTRAINT only_completed_has_an_index CHECK (((status = 'completed'::text) OR ((files_added = 0) AND (files_changed = 0) AND (files_deleted = 0) AND (files_unchanged = 0) AND (chunks_created = 0) AND (chunks_total = 0)))),
    CONSTRAINT outcomes_fit_the_total CHECK (((files_skipped + files_failed) <= files_total)),
    CONSTRAINT running_has_a_start CHECK (((status = ANY (ARRAY['pending'::text, 'failed'::text, 'cancelled'::text])) OR (started_at IS NOT NULL))),
    CONSTRAINT terminal_has_an_end CHECK (((status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])) = (completed_at IS NOT NULL))),
    CONSTRAINT times_are_finite CHECK ((isfinite(created_at) AND isfinite(started_at) AND isfinite(completed_at))),
    CONSTRAINT times_are_in_order CHECK (((created_at <= started_at) AND (created_at <= completed_at) AND (started_at <= completed_at)))
);
CREATE TABLE public.job_events (
    id bigint NOT NULL,
    job_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    event text NOT NULL,
    phase text,
    attempt integer NOT NULL,
    message text,
    CONSTRAINT job_events_event_check CHECK ((event = ANY (ARRAY['created'::text, 'running'::text, 'blocked'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
);
ALTER TABLE public.job_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.job_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.projects (
    id text NOT NULL,
    database_name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    embedder jsonb,
    CONSTRAINT embedder_is_whole CHECK (((embedder IS NULL) OR
CASE
    WHEN (jsonb_typeof(embedder) = 'object'::text) THEN COALESCE(((jsonb_typeof((embedder -> 'provider'::text)) = 'string'::text) AND ((embedder ->> 'model'::text) ~ '\S'::text) AND (((embedder -> 'dimensions'::text) >= '1'::jsonb) AND ((embedder -> 'dimensions'::text) <= '4000'::jsonb)) AND ((embedder - '{provider,model,url,dimensions}'::text[]) = '{}'::jsonb)), false)
    ELSE false
END)),
    CONSTRAINT projects_check CHECK ((database_name = ('cb_proj_'::text || replace(id, '-'::text, '_'::text)))),
    CONSTRAINT projects_id_check CHECK ((id ~ '^[a-z0-9][a-z0-9_-]{0,54}$'::text))
);
CREATE TABLE public.removed_jobs (
    id uuid NOT NULL,
    removed_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.temporal_namespace (
    id text NOT NULL,
    name text NOT NULL,
    first_used timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT temporal_namespace_id_check CHECK ((id <> ''::text))
);
CREATE TABLE public.untold_ends (
    job_id uuid NOT NULL
);
COPY public.indexing_jobs (id, workflow_id, project_id, repo_path, force_reindex, trace_id, status, result_status, status_message, phase, error_message, error_type, errors, files_total, files_done, files_indexed, files_added, files_changed, files_deleted, files_unchanged, files_skipped, files_failed, chunks_created, chunks_total, attempt, revision, generation, manifest_digest, created_at, started_at, completed_at) FROM stdin;
00000000-0000-0000-0000-000000000001	index:default:repository:0	default	/srv/repository	f	aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa	pending	\N	\N	\N	\N	\N	{}	0	0	0	0	0	0	0	0	0	0	0	1	1	\N	\N	2026-01-02 03:04:05+00	2026-01-02 03:04:06+00	\N
00000000-0000-0000-0000-000000000002	index:default:repository:0	default	/srv/repository	f	aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa	running	\N	\N	index	\N	\N	{}	9	0	0	0	0	0	0	0	0	0	0	1	1	\N	\N	2026-01-02 03:04:05+00	2026-01-02 03:04:06+00	\N
00000000-0000-0000-0000-000000000003	index:default:repository:0	default	/srv/repository	f	aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa	blocked	\N	connection refused	scan	\N	\N	{}	0	0	0	0	0	0	0	0	0	0	0	3	1	\N	\N	2026-01-02 03:04:05+00	2026-01-02 03:04:06+00	\N
00000000-0000-0000-0000-000000000004	index:default:repository:0	default	/srv/repository	f	aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa	completed	success	\N	publish	\N	\N	{}	5	5	5	5	0	0	0	0	0	7	7	1	1	1	dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd	2026-01-02 03:04:05+00	2026-01-02 03:04:06+00	2026-01-02 03:05:06+00
00000000-0000-0000-0000-000000000005	index:default:repository:0	default	/srv/repository	f	aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa	failed	failed	\N	scan	disk full	Trouble	{"disk full","and more"}	0	0	0	0	0	0	0	0	0	0	0	1	1	\N	\N	2026-01-02 03:04:05+00	2026-01-02 03:04:06+00	2026-01-02 03:05:06+00
00000000-0000-0000-0000-000000000006	index:default:repository:0	default	/srv/repository	f	aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa	cancelled	\N	cancelled on request	index	\N	\N	{}	0	0	0	0	0	0	0	0	0	0	0	1	1	\N	\N	2026-01-02 03:04:05+00	2026-01-02 03:04:06+00	2026-01-02 03:05:06+00
\.
COPY public.job_events (id, job_id, at, event, phase, attempt, message) FROM stdin;
1	00000000-0000-0000-0000-000000000001	2026-11-28 11:13:30.389253+00	created	\N	1	\N
2	00000000-0000-0000-0000-000000000002	2026-11-28 11:13:30.422488+00	created	\N	1	\N
3	00000000-0000-0000-0000-000000000002	2026-11-28 11:13:30.436117+00	running	index	1	\N
4	00000000-0000-0000-0000-000000000003	2026-11-28 11:13:30.445438+00	created	\N	1	\N
5	00000000-0000-0000-0000-000000000003	2026-11-28 11:13:30.44721+00	running	\N	1	\N
6	00000000-0000-0000-0000-000000000003	2026-11-28 11:13:30.449056+00	blocked	scan	3	connection refused
7	00000000-0000-0000-0000-000000000004	2026-11-28 11:13:30.451622+00	created	\N	1	\N
8	00000000-0000-0000-0000-000000000004	2026-11-28 11:13:30.469195+00	running	\N	1	\N
9	00000000-0000-0000-0000-000000000004	2026-11-28 11:13:30.472918+00	completed	publish	1	\N
10	00000000-0000-0000-0000-000000000005	2026-11-28 11:13:30.503653+00	created	\N	1	\N
11	00000000-0000-0000-0000-000000000005	2026-11-28 11:13:30.509909+00	failed	scan	1	disk full
12	00000000-0000-0000-0000-000000000006	2026-11-28 11:13:30.517432+00	created	\N	1	\N
13	00000000-0000-0000-0000-000000000006	2026-11-28 11:13:30.522863+00	cancelled	index	1	cancelled on request
\.
COPY public.projects (id, database_name, created_at, embedder) FROM stdin;
default	cb_proj_default	2026-01-02 03:04:05+00	\N
my-team	cb_proj_my_team	2026-01-02 03:04:05+00	\N
\.
COPY public.removed_jobs (id, removed_at) FROM stdin;
\.
COPY public.schema_migrations (version, name, applied_at) FROM stdin;
1	0001_registry.sql	2026-11-28 11:13:30.136249+00
2	0002_job_events.sql	2026-11-28 11:13:30.136249+00
3	0003_removed_jobs.sql	2026-11-28 11:13:30.136249+00
4	0004_temporal_namespace.sql	2026-11-28 11:13:30.136249+00
5	0005_untold_ends.sql	2026-11-28 11:13:30.136249+00
6	0006_many_jobs.sql	2026-11-28 11:13:30.136249+00
7	0007_embedders.sql	2026-11-28 11:13:30.136249+00
\.
COPY public.temporal_namespace (id, name, first_used) FROM stdin;
an id	default	2026-01-02 03:04:05+00
\.
COPY public.untold_ends (job_id) FROM stdin;
00000000-0000-0000-0000-000000000004
00000000-0000-0000-0000-000000000005
00000000-0000-0000-0000-000000000006
\.
SELECT pg_catalog.setval('public.job_events_id_seq', 13, true);
ALTER TABLE ONLY public.indexing_jobs
    ADD CONSTRAINT indexing_jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_database_name_key UNIQUE (database_name);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.removed_jobs
    ADD CONSTRAINT removed_jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.untold_ends
    ADD CONSTRAINT untold_ends_pkey PRIMARY KEY (job_id);
CREATE INDEX indexing_jobs_by_end ON public.indexing_jobs USING btree (project_id, repo_path, status, completed_at, generation) WHERE (status = ANY (ARRAY['completed'::text, 'failed'::text]));
CREATE INDEX indexing_jobs_by_end_of_id ON public.indexing_jobs USING btree (reverse((id)::text) COLLATE "C");
CREATE INDEX indexing_jobs_by_error ON public.indexing_jobs USING btree (status, error_type) WHERE (error_type IS NOT NULL);
CREATE INDEX indexing_jobs_by_path ON public.indexing_jobs USING btree (repo_path, status, created_at);
CREATE INDEX indexing_jobs_by_project ON public.indexing_jobs USING btree (project_id, status, created_at);
CREATE INDEX indexing_jobs_by_repository ON public.indexing_jobs USING btree (project_id, repo_path, status, created_at);
CREATE INDEX indexing_jobs_by_status ON public.indexing_jobs USING btree (status, created_at);
CREATE INDEX indexing_jobs_by_time ON public.indexing_jobs USING btree (created_at DESC);
CREATE INDEX job_events_by_job ON public.job_events USING btree (job_id, id);
CREATE UNIQUE INDEX only_one_temporal_namespace ON public.temporal_namespace USING btree ((true));
CREATE INDEX removed_jobs_by_time ON public.removed_jobs USING btree (removed_at);
CREATE TRIGGER guard_job BEFORE INSERT OR DELETE OR UPDATE ON public.indexing_jobs FOR EACH ROW EXECUTE FUNCTION public.guard_job();
CREATE TRIGGER guard_job_event BEFORE INSERT OR DELETE OR UPDATE ON public.job_events FOR EACH ROW EXECUTE FUNCTION public.guard_job_event();
CREATE TRIGGER note_end AFTER UPDATE ON public.indexing_jobs FOR EACH ROW WHEN ((new.status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text]))) EXECUTE FUNCTION public.note_end();
CREATE TRIGGER refuse_removed_job BEFORE INSERT ON public.indexing_jobs FOR EACH ROW EXECUTE FUNCTION public.refuse_removed_job();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.indexing_jobs FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.job_events FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();
CREATE TRIGGER remember_removed_job AFTER DELETE ON public.indexing_jobs FOR EACH ROW EXECUTE FUNCTION public.remember_removed_job();
CREATE TRIGGER write_job_event AFTER INSERT OR UPDATE ON public.indexing_jobs FOR EACH ROW EXECUTE FUNCTION public.write_job_event();
ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.indexing_jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.untold_ends
    ADD CONSTRAINT untold_ends_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.indexing_jobs(id) ON DELETE CASCADE;
