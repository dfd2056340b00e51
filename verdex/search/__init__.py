"""Searching the published indexes of a project; knows no Temporal."""
