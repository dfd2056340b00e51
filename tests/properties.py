"""How the tests that hypothesis drives are run: the same examples every time, and nothing is left in the tree."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, configuration, settings

configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "verdex-hypothesis")


def bounded(examples: int, steps: int = 50) -> settings:
    """Settings for so many examples, of at most so many steps where the test is a state machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,  # the machine may be busy
        suppress_health_check=list(HealthCheck),  # each is about time or about taste
    )
