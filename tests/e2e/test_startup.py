"""What a command imports, which is most of the time that it takes: with the stack up, no more than it needs."""

import pytest

WORKER = {
    "activities",
    "temporalio.contrib.opentelemetry",
    "temporalio.worker",
    "tree_sitter",
    "verdex.indexing",
    "workflows",
}


def imported(stack, *arguments: object) -> set[str]:
    """Every module that a command imports, and every package that one is in; the command succeeds."""
    ended = stack(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert ended.code == 0, ended.err
    return {line.rpartition("|")[2].strip() for line in ended.err.splitlines() if line.startswith("import time:")}


@pytest.fixture
def job_id(first) -> str:
    return str(first.json["job_id"])


@pytest.mark.parametrize("command", ["status", "files", "trace"])
def test_a_job_that_has_ended_is_shown_without_the_client_of_temporal(stack, job_id, command):
    modules = imported(stack, command, job_id, "--json")
    assert "asyncpg" in modules
    assert not modules & {"temporalio", "tree_sitter"}


@pytest.mark.parametrize("command", ["status", "project list"])
def test_who_makes_no_span_does_without_what_keeps_them(stack, job_id, command):
    modules = imported(stack, *command.split(), *([job_id] if command == "status" else []), "--json")
    assert "opentelemetry.trace" in modules
    assert not modules & {"opentelemetry.sdk", "opentelemetry.exporter", "rich"}


@pytest.mark.parametrize("command", ["index", "jobs"])
def test_who_asks_temporal_does_without_what_a_worker_is_made_of(stack, tree, command):
    modules = imported(stack, command, *([tree] if command == "index" else []), "--json")
    assert "temporalio.client" in modules
    assert not modules & {*WORKER, "rich"}


def test_a_stack_that_is_up_is_found_up_without_asking_its_services(stack):
    modules = imported(stack, "up", "--json")
    assert "verdex.local.stack" in modules
    assert "temporalio" not in modules
