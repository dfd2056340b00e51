"""How a person names a model that embeds."""

from pydantic import ValidationError

from verdex.contracts import EmbeddingModel
from verdex.errors import EmbedderInvalid


def embedding_model(text: str, url: str | None = None) -> EmbeddingModel:
    """The model that a person means by `provider:model`, served at `url`.

    >>> str(embedding_model("ollama:nomic-embed-text"))
    'ollama:nomic-embed-text at http://127.0.0.1:11434'

    Raises:
        EmbedderInvalid: one line that says what is wrong, without the URL.
    """
    provider, _, model = text.partition(":")
    try:
        return EmbeddingModel.model_validate({"provider": provider, "model": model, "url": url})
    except ValidationError as error:
        wrong = "; ".join(f"{details['loc'][0]}: {details['msg']}" for details in error.errors(include_url=False))
        wrong = wrong.replace("Value error, ", "")
        raise EmbedderInvalid(f"{text!r} names no embedder, as ollama:nomic-embed-text does: {wrong}") from None
