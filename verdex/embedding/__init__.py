"""Turns texts into vectors that lie near each other where the texts mean the same; knows no Temporal, no PostgreSQL.

`opening` opens an embedder and `kept` keeps it open. `providers` speaks to each kind of them, by `http` or in this
process (`static`); `embedder` bounds what is asked of it and checks what it answers.
"""

from verdex.embedding.embedder import Purpose, TextEmbedder, Vector
from verdex.embedding.kept import Embedders
from verdex.embedding.naming import embedding_model
from verdex.embedding.opening import open_embedder, probed

__all__ = ["Embedders", "Purpose", "TextEmbedder", "Vector", "embedding_model", "open_embedder", "probed"]
