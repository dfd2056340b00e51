"""A part dies, or a command is broken off: the next command finds out and mends it."""

import json
import os
import pwd
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from verdex.local.postgres import SYSTEM_USER

PARTS = ("postgres", "temporal", "worker")


@pytest.fixture
def bystander(stack):
    """A process that is none of the stack's business, of the user that runs PostgreSQL."""
    user = SYSTEM_USER if os.geteuid() == 0 else None
    sleeping = subprocess.Popen(["sleep", "600"], user=user)
    yield sleeping
    sleeping.kill()
    sleeping.wait()


@pytest.mark.parametrize("killed", [("postgres",), ("temporal",), ("worker",), PARTS], ids=" and ".join)
def test_what_was_killed_is_started_again_and_nothing_is_lost(stack, tree: Path, killed):
    before = stack("jobs", "--json").json
    stack.kill(*killed)
    after = stack("index", tree, "--json")
    assert (after.code, after.json["files_unchanged"]) == (0, 4)
    assert after.err.count("starting") == len(killed)
    assert stack("jobs", "--limit", 21, "--json").json == [after.json, *before]


def test_doctor_says_of_each_part_what_to_do_about_it(stack):
    well = stack("doctor", "--json")
    assert (well.code, {part["ok"] for part in well.json}) == (0, {True})
    stack.kill("temporal", "worker")
    found = stack("doctor", "--json")
    assert found.code == 5
    bad = {part["part"]: part["advice"] for part in found.json if not part["ok"]}
    assert bad.keys() == {"Temporal process", "worker process"}
    assert all("verdex up" in advice for advice in bad.values())
    told = stack("doctor")
    assert told.code == 5
    assert told.out.count("BAD") == told.out.count("→") == 2
    assert stack("up").code == 0
    assert stack("doctor").code == 0


def test_an_id_that_belongs_to_another_process_by_now_is_left_alone(command, stack, bystander):
    home = command("stale")
    assert home("up").code == 0
    _reboot(home, bystander.pid)
    assert home("doctor").code == 5
    assert home("down").code == 0
    _reboot(home, bystander.pid)
    assert home("up").code == 0
    _reboot(home, stack.processes()["postgres"].pid)
    assert home("up").code == 0
    assert home.processes().keys() == set(PARTS)
    assert bystander.poll() is None
    assert stack.processes().keys() == set(PARTS)


def _reboot(home, pid: int) -> None:
    """Leave the home as a power cut would, with ids that now belong to some other process."""
    home.kill(*home.processes())
    for path in (home.home / "run").glob("*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "pid": pid}))
    postmaster = home.home / "postgres" / "data" / "postmaster.pid"
    lines = ["1", str(postmaster.parent), "1", "5432", "", "", "", "ready   "]
    kept = postmaster.read_text().split("\n")[1:] if postmaster.exists() else lines[1:]
    postmaster.write_text("\n".join([str(pid), *kept]))
    if os.geteuid() == 0:
        owner = pwd.getpwnam(SYSTEM_USER)
        os.chown(postmaster, owner.pw_uid, owner.pw_gid)


def test_a_start_that_was_broken_off_is_taken_up_where_it_stopped(command):
    home = command("half")
    starting = home.start("up")
    assert "PostgreSQL" in starting.stderr.readline()
    starting.kill()
    starting.wait()
    assert home("up").code == 0
    assert home.processes().keys() == set(PARTS)


def test_two_commands_at_once_start_one_stack(command):
    home = command("twice")
    running = [home.start("up", "--json") for _ in range(3)]
    told = [one.communicate(timeout=60)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    assert len(set(told)) == 1
    servers = [one for one in psutil.process_iter(["cmdline"]) if _serves(one, home.home)]
    assert len(servers) == 2


def _serves(process: psutil.Process, home: Path) -> bool:
    return any(part.startswith(str(home)) for part in process.info["cmdline"] or ())


def test_down_stops_everything_and_up_brings_back_jobs_history_and_index(stack, runs, tree: Path):
    newest = stack("index", tree, "--json").json
    place = f"/api/v1/namespaces/default/workflows/{quote(newest['workflow_id'], safe='')}/history"
    history = stack.web(place)
    stopped = stack.processes()
    assert stack("down").code == 0
    assert not any(map(runs, stopped.values()))
    assert stack("down").code == 0
    assert stack("jobs", "--limit", 1, "--json").json == [newest]
    assert stack.web(place) == history
    assert stack("index", tree, "--json").json["files_unchanged"] == 4


def test_a_temporal_whose_state_is_lost_is_replaced_and_jobs_go_on(command, write, scratch: Path):
    home, tree = command("lost"), write(scratch / "lost tree", {"a.py": "a = 1\n"})
    before = home("index", tree, "--json").json
    home.kill("temporal", "worker")
    for path in (home.home / "temporal").iterdir():
        path.unlink()
    after = home("index", tree, "--json")
    assert after.code == 0, after.err
    assert after.json["files_unchanged"] == 1
    assert home("jobs", "--json").json == [after.json, before]


def test_a_stack_that_was_taken_down_stays_down_though_a_command_waits(stack, write, scratch: Path, eventually):
    stack.processes()["worker"].suspend()
    waiting = stack.start("index", write(scratch / "down", {"a.py": "a = 1\n"}))
    job_id = waiting.stderr.readline().removeprefix("verdex: job ").rstrip()
    assert stack("down").code == 0
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 4
    assert "the local stack was taken down (verdex up starts it); the job goes on when it is up again" in err
    assert stack.processes() == {}
    assert stack("up").code == 0
    eventually(lambda: stack("status", job_id).code == 0)
