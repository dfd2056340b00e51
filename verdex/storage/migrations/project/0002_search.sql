-- The terms of a chunk (verdex/terms.py). What older versions stored has none, and is chunked anew by the next job.
ALTER TABLE chunks ADD COLUMN lexemes tsvector NOT NULL DEFAULT '';
ALTER TABLE chunks ALTER COLUMN lexemes DROP DEFAULT;
CREATE INDEX chunks_by_lexeme ON chunks USING gin (lexemes);
