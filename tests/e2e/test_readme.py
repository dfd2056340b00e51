"""The example of the README works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE
from tests.e2e.conftest import VERDEX

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def example(tree) -> str:
    """The program of the section "From Python", for a repository that is there."""
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert program.count("/srv/code/project") == 2
    return str(program.replace("/srv/code/project", str(tree)))


def test_the_example_of_the_python_api_indexes_waits_and_searches(stack, example):
    done = subprocess.run(
        ["sh", "-c", 'eval "$("$1" up --env)" && exec "$2" -c "$3"', "sh", VERDEX, sys.executable, example],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4 files indexed\n")
