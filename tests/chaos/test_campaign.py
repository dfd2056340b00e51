"""The short form of `python -m tests.chaos`, and what both forms stand on."""

import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.chaos.campaign import REPOSITORIES, Campaign
from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.stack import Stack
from tests.chaos.trees import Tree

ROOT = Path(__file__).parents[2]
JOBS = 10


async def test_no_job_lies_gets_stuck_or_loses_anything_whatever_goes_wrong(campaign):
    outcomes = [outcome async for outcome in campaign.run(JOBS)]
    assert [(one.number, one.fault.name, *map(str, one.findings)) for one in outcomes if one.findings] == []
    assert any(one.told.struck for one in outcomes)


def test_the_campaign_and_its_oracle_import_nothing_of_verdex():
    program = "import sys, tests.chaos.__main__; print(*(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"verdex", "workflows", "activities", "worker"}.intersection(done.stdout.split())


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_a_tree_expects_the_files_that_git_lists_also_after_edits(tmp_path: Path, seed: int):
    random = Random(seed)  # noqa: S311
    tree = Tree(tmp_path / "tree", random)
    for _ in range(20):
        tree.edit(random)
    subprocess.run(["git", "init", "--quiet", tree.root], check=True)
    listed = subprocess.run(
        ["git", "-C", tree.root, "ls-files", "-z", "--others", "--exclude-standard"], stdout=subprocess.PIPE, check=True
    )
    assert set(tree.expected()) == {path.replace("\\", "\\\\") for path in listed.stdout.decode().split("\0")[:-1]}


def test_the_same_seed_gives_the_same_trees_and_another_one_others(tmp_path: Path):
    made = []
    for number, seed in enumerate((7, 7, 8)):
        directory = tmp_path / str(number)
        Campaign(Stack(directory), "", seed, list(FAULTS.values()))
        left = directory.joinpath("trees", *REPOSITORIES[0])
        files = (path for path in left.rglob("*") if path.is_file())
        made.append({path.relative_to(left): path.read_bytes() for path in files})
    assert made[0] == made[1] != made[2]
