-- The terms of a chunk (verdex/terms.py). What older versions stored has none, and is chunked anew by the next job.
ALTER TABLE chunks ADD COLUMN lexemes tsvector NOT NULL DEFAULT '';
ALTER TABLE chunks ALTER COLUMN lexemes DROP DEFAULT;
CREATE INDEX chunks_by_lexeme ON chunks USING gin (lexemes);

-- A query may name a file by the end of its path. Entries of an index are limited, paths are not.
CREATE INDEX files_by_ending ON files (manifest_id, (left(reverse(lower('/' || path)), 200) COLLATE "C"))
    WHERE blob_id IS NOT NULL;
