"""Deterministic orchestration: what happens in which order, and what is tried again."""
