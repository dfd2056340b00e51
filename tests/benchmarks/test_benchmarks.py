"""The measurements run, and measure what they say. How fast anything is, no test says."""

import asyncio
import json
import os
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import asyncpg
import pytest

from benchmarks import registry, report, trees, workers
from benchmarks.__main__ import measure
from benchmarks.check import dearer
from benchmarks.metering import Meter, cpu_seconds
from benchmarks.product import FLOOR, LIBRARY, PRODUCT, one_file_changed, without_git
from benchmarks.spans import sums
from benchmarks.trees import Tree, commit, files, write_modules
from tests.chaos.stack import stack
from tests.storage.many_jobs import fill
from verdex.storage.registry import Registry

PROJECT = Path(__file__).parents[2]
MODULES = 6
SPIN = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    write_modules(root, MODULES)
    commit(root)
    return root


async def test_floor_library_and_product_are_measured_on_one_tree(root, monkeypatch):
    monkeypatch.setenv("VERDEX_BENCH_TREES", str(root.parent / "cache"))
    monkeypatch.setattr(trees, "SETTLE_SECONDS", 0.0)
    tree = trees.tree(str(root))
    costs = await measure(tree, repeat=1)
    assert {cost.told.get("files", cost.told.get("files_total")) for cost in costs} == {MODULES}
    assert {cost.told["files_unchanged"] for cost in costs if cost.what == "product, nothing changed"} == {MODULES}
    assert all(cost.database > 0 and cost.postgres_cpu >= 0 and cost.seconds <= cost.wall for cost in costs)
    table = report.table(tree, costs)
    assert all(f"| {what} |" in table for what in (FLOOR, LIBRARY, PRODUCT))
    trace = next(cost.told["trace"] for cost in costs if cost.what == PRODUCT)
    assert sums(trace)["COPY chunks"].rows == next(
        cost.told["chunks_created"] for cost in costs if cost.what == PRODUCT
    )


async def test_workers_are_measured_on_one_stack(root, monkeypatch):
    monkeypatch.setattr(workers, "WARM_UP", str(root))
    async with stack() as running:
        lines = await workers.measure(running, root, [1, 2], processes=1, repeat=1)
        await running.run("down")
    dealt = [line.split(" | ")[-1].rstrip(" |") for line in lines[2:]]
    assert dealt == ["1", "1"]


async def test_the_floor_copies_every_line(root, registry_url):
    (root / "old.c").write_bytes(b"int f(void) {\n\treturn '\xe9';\n}\n")
    (root / "long.txt").write_bytes(b"".join(b"%d\n" % number * 700 for number in range(200)))
    (root / "binary.py").write_bytes(b"\0")
    commit(root)
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.floor", root, registry_url, cwd=PROJECT, stdout=asyncio.subprocess.PIPE
    )
    told = json.loads((await done.communicate())[0])
    connection = await asyncpg.connect(registry_url)
    rows = await connection.fetch(
        "SELECT path, string_agg(content, E'\\n' ORDER BY start_line) AS text FROM floor GROUP BY 1"
    )
    await connection.close()
    assert told["files"] == MODULES + 2
    assert {row["path"]: row["text"] for row in rows} == {
        str(path): path.read_text(errors="replace") for path in files(root) if path.name != "binary.py"
    }


async def test_a_registry_is_asked_what_people_and_workers_ask(client, server, settings, monkeypatch):
    monkeypatch.setenv("VERDEX_DATABASE_URL", settings.database_dsn)
    monkeypatch.setenv("VERDEX_TASK_QUEUE", settings.task_queue)
    monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
    await fill(server.registry, 1_000)
    ids = cycle(job.job_id for job in await Registry(server.registry).jobs())
    calls = registry.through_api(ids) | registry.of_workers(server)
    rows = await registry.table(calls, samples=2)
    assert [row.split(" | ")[0] for row in rows[2:-1]] == [f"| {name}" for name in calls]


def test_a_family_is_measured_with_its_children_and_what_it_took_before_they_ended():
    meter = Meter({}, own="own")
    with meter.measuring():
        subprocess.run([sys.executable, "-c", SPIN], check=True)
    assert meter.cpu["own"] >= 0.4
    assert meter.peak["own"] > 2**20
    assert cpu_seconds([os.getpid()]) > 0


def test_a_tree_is_as_before_when_it_has_been_measured(root):
    before = {path: path.read_bytes() for path in files(root)}
    with one_file_changed(root), without_git(root):
        assert sum(path.read_bytes() != content for path, content in before.items()) == 1
        assert not (root / ".git").exists()
    assert {path: path.read_bytes() for path in files(root)} == before
    assert (root / ".git").is_dir()


def test_a_synthetic_tree_is_the_same_each_time(root, tmp_path):
    write_modules(tmp_path / "again", MODULES)
    assert [path.read_bytes() for path in files(root)] == [path.read_bytes() for path in files(tmp_path / "again")]


def test_what_is_above_the_tolerance_or_not_in_the_baseline_is_dearer():
    found = {"same": 1.1, "more": 1.2, "same wal": 1.02, "more wal": 1.05, "new": 0.1}
    assert dearer(found, dict.fromkeys(found.keys() - {"new"}, 1.0)) == ["more", "more wal", "new"]


def test_a_tree_that_nobody_knows_is_refused():
    with pytest.raises(SystemExit, match="there is no tree nonsense"):
        trees.tree("nonsense")


def test_size_and_number_of_a_tree_leave_out_what_git_keeps(root):
    assert trees.tree(str(root)) == Tree("tree", root, MODULES, sum(path.stat().st_size for path in files(root)))
