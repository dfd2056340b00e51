"""What is seen while a job runs, and what Ctrl-C does."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest


def started(line: str) -> str:
    """The id of the job, as the command says it first."""
    return line.removeprefix("verdex: job ").rstrip()


@pytest.fixture(scope="session")
def large(scratch: Path, write):
    """A repository that takes some seconds: 400 different files, 5 MB."""
    body = "".join(f"def function_{n}(argument):\n    return argument + {n}\n\n\n" for n in range(230))
    return write(scratch / "large", {f"module_{n}.py": f"number = {n}\n{body}" for n in range(400)})


class Terminal:
    """The screen of a pseudo-terminal, as all that was ever written to it."""

    def __init__(self) -> None:
        self._master, self.end = pty.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.text = ""

    def read(self) -> bool:
        """Whether there was more to read."""
        try:
            read = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other end is closed
            return False
        self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read.decode(errors="replace"))
        return bool(read)

    def close(self) -> None:
        os.close(self._master)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def test_on_a_terminal_a_bar_shows_phase_files_done_rate_and_time_left(stack, large: Path, terminal):
    running = stack.start("index", large, stderr=terminal.end)
    os.close(terminal.end)
    while terminal.read():
        pass
    out, _ = running.communicate(timeout=30)
    assert (running.returncode, out.startswith("completed  400 files")) == (0, True), terminal.text
    assert "indexing 400 files" in terminal.text
    done = {int(found[1]) for found in re.finditer(r"(\d+)/400", terminal.text)}
    assert any(0 < some < 400 for some in done)
    assert re.search(r"\d+ files/s", terminal.text)
    assert re.search(r"left \d:\d\d:\d\d", terminal.text)
    assert "Traceback" not in terminal.text


@pytest.fixture
def unindexed(write, scratch: Path):
    """Of each test its own: the workflow of an earlier job closes a moment after that, if its worker is not stopped."""
    return write(scratch / f"waiting {uuid4()}", {"a.py": "a = 1\n"})


@pytest.fixture
def waiting(stack, unindexed: Path):
    """A command that waits for a job, and the worker, which is stopped before it."""
    worker = stack.processes()["worker"]
    worker.suspend()
    running = stack.start("index", unindexed)
    yield running, worker
    with suppress(psutil.NoSuchProcess):
        worker.resume()


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(stack, waiting, eventually):
    running, worker = waiting
    job_id = started(running.stderr.readline())
    assert running.stderr.readline() == "verdex: pending\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (4, "")
    assert err.strip() == (
        f"verdex: the job goes on. Follow it: verdex status --watch {job_id} · stop it: verdex cancel {job_id}"
    )
    worker.resume()
    eventually(lambda: stack("status", job_id).code == 0)


def test_a_second_index_of_the_same_repository_follows_the_job_that_runs(stack, waiting, unindexed: Path):
    running, worker = waiting
    job_id = started(running.stderr.readline())
    second = stack("index", unindexed, "--no-wait", "--json")
    assert (second.code, second.json["job_id"]) == (4, job_id)
    assert "indexes this repository already" in second.err
    worker.resume()
    running.communicate(timeout=30)
    assert running.returncode == 0


def test_force_waits_for_the_job_that_runs_and_then_does_everything_anew(stack, waiting, unindexed: Path):
    running, worker = waiting
    job_id = started(running.stderr.readline())
    forcing = stack.start("index", unindexed, "--force", "--json")
    said = forcing.stderr.readline()
    assert said == (f"verdex: job {job_id} indexes this repository already: a forced one follows when it has ended\n")
    worker.resume()
    out, err = forcing.communicate(timeout=30)
    running.communicate(timeout=30)
    forced = json.loads(out)
    assert (forcing.returncode, running.returncode, forced["status"]) == (0, 0, "completed"), err
    assert (forced["force_reindex"], forced["files_unchanged"], forced["chunks_created"]) == (True, 1, 1)
    assert forced["job_id"] != job_id
    ended, begun = [line for line in err.splitlines() if line.startswith("verdex: job ")]
    assert ended.startswith(f"verdex: job {job_id} is completed: ")
    assert begun == f"verdex: job {forced['job_id']}"


def test_force_that_is_broken_off_before_its_turn_says_that_nothing_is_forced(stack, waiting, unindexed: Path):
    running, worker = waiting
    job_id = started(running.stderr.readline())
    forcing = stack.start("index", unindexed, "--force")
    assert "a forced one follows" in forcing.stderr.readline()
    forcing.send_signal(signal.SIGINT)
    _, err = forcing.communicate(timeout=30)
    assert forcing.returncode == 4
    nothing_is_forced = "Nothing is forced: run this again when it has ended."
    assert f"the job goes on. {nothing_is_forced} Follow it: verdex status --watch {job_id}" in err
    worker.resume()
    running.communicate(timeout=30)


def test_force_that_does_not_wait_says_that_nothing_is_forced(stack, waiting, unindexed: Path):
    running, worker = waiting
    job_id = started(running.stderr.readline())
    forcing = stack("index", unindexed, "--force", "--no-wait", "--json")
    assert (forcing.code, forcing.json["job_id"], forcing.json["force_reindex"]) == (4, job_id, False)
    nothing_is_forced = "and nothing is forced: run this again when it has ended"
    assert forcing.err == f"verdex: job {job_id} indexes this repository already, {nothing_is_forced}\n"
    worker.resume()
    running.communicate(timeout=30)


def test_the_command_that_waits_starts_a_killed_worker_again_and_the_job_completes(stack, waiting, runs, eventually):
    running, worker = waiting
    assert started(running.stderr.readline())
    parsers = worker.children()
    worker.kill()
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert out.startswith("completed")
    assert "starting the worker" in err
    assert stack.processes()["worker"].pid != worker.pid
    eventually(lambda: not any(map(runs, parsers)))
