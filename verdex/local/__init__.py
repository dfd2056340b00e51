"""The embedded stack: PostgreSQL, the Temporal dev server and one worker, with all their state in `VERDEX_HOME`."""
