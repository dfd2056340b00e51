"""From files to chunks: what the index holds of a source tree."""
