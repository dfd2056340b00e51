-- The roles of the PostgreSQL server and their databases. Runs by itself when the data volume is new; may be run
-- again at any time, and then sets the passwords anew.
\set ON_ERROR_STOP on
\getenv verdex_password POSTGRES_PASSWORD
\getenv temporal_password TEMPORAL_POSTGRES_PASSWORD

-- Only a superuser may create `vector`, and verdex is none: a database made from template1 has it already.
\connect template1
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
\connect postgres

SELECT 'CREATE ROLE verdex LOGIN CREATEDB' WHERE to_regrole('verdex') IS NULL \gexec
SELECT 'CREATE ROLE temporal LOGIN' WHERE to_regrole('temporal') IS NULL \gexec
ALTER ROLE verdex PASSWORD :'verdex_password';
-- An empty password is none: nobody signs in as temporal until it is set.
ALTER ROLE temporal PASSWORD :'temporal_password';

SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('verdex', 'verdex'), ('temporal', 'temporal'), ('temporal_visibility', 'temporal')) AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

-- Without a password of its own, the superuser is reachable from inside the container only.
ALTER ROLE postgres PASSWORD NULL;
