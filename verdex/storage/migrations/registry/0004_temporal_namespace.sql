-- The Temporal namespace that runs the jobs of this registry, remembered at the first use. Another one knows none of their
-- workflows, and all would look lost. Its id is given anew wherever a namespace is made, also one of the same name.
CREATE TABLE temporal_namespace (
    id         text NOT NULL CHECK (id <> ''),
    name       text NOT NULL,
    first_used timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX only_one_temporal_namespace ON temporal_namespace ((true));
