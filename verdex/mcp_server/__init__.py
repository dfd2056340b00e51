"""The Model Context Protocol: what coding agents can ask of verdex, over the Python API."""
