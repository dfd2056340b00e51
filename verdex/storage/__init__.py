"""PostgreSQL through asyncpg: the registry of jobs and projects, and one database for each project."""
