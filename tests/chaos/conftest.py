"""One stack for all tests of the campaign."""

from typing import Final

import pytest

from tests.chaos.campaign import begin
from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.stack import stack

SEED: Final = 20


@pytest.fixture(scope="session")
async def campaign():
    """The short form: faults that need no long wait."""
    async with stack() as made:
        yield await begin(made, SEED, [fault for fault in FAULTS.values() if fault.quick])
