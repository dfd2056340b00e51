"""Where the parts of a stack are, and that they keep to themselves."""

import ipaddress
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

DEFAULT_PORTS = (7233, 8233)


@pytest.fixture(scope="module")
def default_ports():
    """Somebody else listens on them."""
    held = [socket.socket() for _ in DEFAULT_PORTS]
    for holder, port in zip(held, DEFAULT_PORTS, strict=True):
        with suppress(OSError):  # it is taken already, which is as good
            holder.bind(("127.0.0.1", port))
            holder.listen()
    yield DEFAULT_PORTS
    for holder in held:
        holder.close()


@pytest.fixture(scope="module")
def neighbour(command, fresh, default_ports, scratch: Path, write):
    """A second stack, in a home with a name that asks for trouble, and the one job in it."""
    home = command(f"it's a home, with {'a long name ' * 8}")
    return home, home("index", write(scratch / "elsewhere", {"b.py": "b = 2\n"}), "--json")


def test_a_stack_works_under_a_long_path_with_spaces_and_quotes(neighbour):
    home, first = neighbour
    assert len(str(home.home)) > 100
    assert (first.code, first.json["files_indexed"]) == (0, 1)


def test_ports_that_are_taken_are_avoided(neighbour):
    home, _ = neighbour
    told = home("up", "--json").json
    ports = {int(told[name].rpartition(":")[2]) for name in ("temporal_address", "ui_url")}
    assert len(ports) == 2
    assert not ports & set(DEFAULT_PORTS)


def test_two_stacks_side_by_side_share_nothing(neighbour, stack):
    home, first = neighbour
    ours, theirs = stack("up", "--json").json, home("up", "--json").json
    assert all(ours[name] != theirs[name] for name in ours)
    assert home("jobs", "--json").json == [first.json]
    assert stack("status", first.json["job_id"]).code == 2
    assert first.json["job_id"] not in stack("jobs", "--limit", 1000).out


def test_a_worker_with_other_settings_than_those_of_the_command_is_replaced(neighbour, write, scratch: Path):
    home, _ = neighbour
    folder = write(scratch / "sizes", {"small.py": "a = 1\n", "large.py": "a = 1\n" * 100})
    before = home.processes()["worker"].pid
    limited = home("index", folder, "--json", VERDEX_MAX_FILE_BYTES="50").json
    assert (limited["files_indexed"], limited["files_skipped"]) == (1, 1)
    assert home("index", folder, "--json").json["files_indexed"] == 2
    assert home.processes()["worker"].pid != before


def test_everything_listens_on_loopback_only(stack):
    parts = stack.processes()
    assert parts.keys() == {"postgres", "temporal", "worker"}
    family = [one for part in parts.values() for one in (part, *part.children(recursive=True))]
    listening = [
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2
    assert all(ipaddress.ip_address(ip).is_loopback for ip in listening)


def test_up_says_where_everything_is_and_down_on_an_empty_home_is_fine(stack, command):
    told = stack("up")
    assert [line[:12].strip() for line in told.out.splitlines()] == [
        "PostgreSQL", "", "Temporal", "Web UI", "worker", "state"
    ]  # fmt: skip
    empty = command("empty")
    assert empty("down").code == 0
    assert not empty.home.exists()


def test_a_home_that_cannot_be_written_is_one_line_and_unreachable(command, scratch: Path):
    (scratch / "file").touch()
    ended = command("file/home")("index", scratch)
    assert (ended.code, ended.out, ended.err.count("\n")) == (5, "", 1)
    assert f"VERDEX_HOME ({scratch}/file/home) cannot be used" in ended.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_home_without_the_right_to_write_is_one_line_and_unreachable(command, scratch: Path):
    (scratch / "closed").mkdir(mode=0o500)
    ended = command("closed/home")("up")
    assert (ended.code, ended.err.count("\n")) == (5, 1)


def test_a_worker_in_the_foreground_works_and_on_sigterm_drains_and_exits_0(stack, tree: Path, write, tmp_path: Path):
    write(tmp_path, {"worker.py": "raise SystemExit('not this one')\n"})
    told = stack("up", "--json").json
    elsewhere = {
        "VERDEX_DATABASE_URL": told["database_url"],
        "TEMPORAL_ADDRESS": told["temporal_address"],
        "VERDEX_TASK_QUEUE": "foreground",
    }
    worker = stack.start("worker", cwd=tmp_path, env=elsewhere)
    ended = stack("index", tree, "--json", **elsewhere)
    assert (ended.code, ended.json["status"]) == (0, "completed")
    worker.send_signal(signal.SIGTERM)
    _, log = worker.communicate(timeout=20)
    assert worker.returncode == 0, log
    assert "worker is draining" in log
    assert "Traceback" not in log
