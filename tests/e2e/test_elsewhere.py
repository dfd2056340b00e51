"""With VERDEX_DATABASE_URL and TEMPORAL_ADDRESS set, nothing local is ever started."""

import os
from pathlib import Path

import pytest

NOWHERE = {"VERDEX_DATABASE_URL": "postgresql://verdex:hunter2@127.0.0.1:1/verdex", "TEMPORAL_ADDRESS": "127.0.0.1:1"}
JOB = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def away(command):
    home = command("away", **NOWHERE)
    yield home
    assert not (home.home / "postgres").exists()
    assert not (home.home / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [("index", "."), ("status", JOB), ("jobs",), ("cancel", JOB), ("files", "."), ("project", "list")],
    ids=" ".join,
)
def test_services_that_do_not_answer_are_one_line_and_exit_code_5(away, arguments):
    ended = away(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (5, "", 1)
    assert "127.0.0.1" in ended.err
    assert "hunter2" not in ended.err


def test_doctor_says_which_variable_leads_to_nobody(away):
    ended = away("doctor")
    assert ended.code == 5
    for variable in NOWHERE:
        assert f"check {variable}" in ended.out
    assert "hunter2" not in ended.out


@pytest.mark.parametrize("variable", NOWHERE)
def test_half_of_a_stack_is_wrong_usage(command, variable):
    half = command("half-set", **{variable: NOWHERE[variable]})
    ended = half("jobs")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "VERDEX_DATABASE_URL and TEMPORAL_ADDRESS go together" in ended.err
    assert not half.home.exists()


@pytest.mark.parametrize("arguments", ["up", "down"])
def test_there_is_no_local_stack_to_bring_up_or_down(away, arguments):
    ended = away(arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VERDEX_DATABASE_URL", "mysql://verdex:hunter2@db/verdex"),
        ("VERDEX_DATABASE_URL", "postgresql://verdex:hunter2@db:port/verdex"),
        ("TEMPORAL_ADDRESS", "not an address"),
        ("VERDEX_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_setting_is_wrong_usage_in_one_line_that_names_it(away, variable, value):
    ended = away("index", ".", **{variable: value})
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert variable in ended.err
    assert "hunter2" not in ended.err


def test_the_exit_code_of_a_broken_pipe_is_not_that_of_a_failed_job(away):
    read, write = os.pipe()
    os.close(read)
    shown = away.start("--help", stdout=write)
    os.close(write)
    _, err = shown.communicate(timeout=30)
    assert (shown.returncode, err) == (141, "")


def test_a_full_disk_under_the_output_is_one_line(away):
    with Path("/dev/full").open("w") as full:
        shown = away.start("--help", stdout=full)
        _, err = shown.communicate(timeout=30)
    assert shown.returncode == 74
    assert err == "verdex: No space left on device: the output could not be written\n"


@pytest.mark.parametrize("arguments", [("index", ""), ("verify", ""), ("jobs", "--repo", "")])
def test_an_empty_path_is_wrong_usage_and_not_the_current_directory(away, arguments):
    ended = away(*arguments)
    assert ended.code == 2
    assert "it is empty" in ended.err
