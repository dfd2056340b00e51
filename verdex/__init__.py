"""Durable code indexing into PostgreSQL, as Temporal workflows whose job status is never a lie."""

__version__ = "0.1.0"
