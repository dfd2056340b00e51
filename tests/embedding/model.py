"""A small real model, from weights that the package `wordllama` ships: 32,000 tokens, 256 dimensions."""

import importlib.util
from pathlib import Path
from typing import Final

import pytest
from model2vec import StaticModel
from safetensors.numpy import load_file
from tokenizers import Tokenizer

DIMENSIONS: Final = 256


def model_directory(directory: Path) -> Path:
    """Write the model below `directory`, in the format of model2vec; skips the test where the weights are missing."""
    spec = importlib.util.find_spec("wordllama")  # it is not imported: only its files are needed
    if spec is None or spec.origin is None:
        pytest.skip("needs the weights of a model: pip install wordllama (Python before 3.14)")
    package = Path(spec.origin).parent
    (weights,) = load_file(package / "weights" / "l2_supercat_256.safetensors").values()
    tokenizer = Tokenizer.from_file(str(package / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    path = directory / "wordllama"
    StaticModel(weights, tokenizer, max_length=None).save_pretrained(path, model_name="wordllama")
    return path
