from collections.abc import Iterator

import pytest

from tests.backends import Backend, answering


@pytest.fixture
def backend() -> Iterator[Backend]:
    with answering() as backend:
        yield backend
