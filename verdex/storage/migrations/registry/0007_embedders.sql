-- What the vectors of a project are made with; NULL: it has none. The key of an embedder is never here.
ALTER TABLE projects ADD COLUMN embedder jsonb CONSTRAINT embedder_is_whole CHECK (
    embedder IS NULL OR CASE WHEN jsonb_typeof(embedder) = 'object' THEN coalesce(
        jsonb_typeof(embedder->'provider') = 'string'
        AND embedder->>'model' ~ '\S'
        AND embedder->'dimensions' BETWEEN '1' AND '4000'  -- as JSON: between two numbers are numbers only
        AND embedder - '{provider,model,url,dimensions}'::text[] = '{}',
        false) ELSE false END);
