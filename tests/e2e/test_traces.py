"""The trace of a job that two workers did, of which the first was killed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from verdex.telemetry.otlp import StoredSpan, decode
from verdex.telemetry.store import read
from workflows.policies import CONCURRENT_SHARDS

WORKER = "verdex-worker"


@pytest.fixture(scope="session")
def large(scratch: Path, write) -> Path:
    """A repository of more shards than are indexed at a time, each done soon: 2,400 different files, 30 MB."""
    lines = "".join(f"    argument = argument + {n}\n" for n in range(50))
    body = "".join(f"def function_{n}(argument):\n{lines}    return argument\n\n\n" for n in range(9))
    root: Path = write(scratch / "traced", {f"module_{n}.py": f"traced = {n}\n{body}" for n in range(2400)})
    return root


class Traced(NamedTuple):
    """A job that ended, and its spans."""

    job: dict[str, Any]
    document: dict[str, Any]
    spans: Sequence[StoredSpan]


@pytest.fixture(scope="session")
def killed(fresh, large: Path, eventually) -> Traced:
    """A job whose worker was killed with SIGKILL while it indexed; the next worker went on."""
    stack = fresh.command
    job_id = stack("index", large, "--no-wait", "--json").json["job_id"]
    eventually(lambda: "index_shard" in _kept(stack, job_id))  # the first shards are done, and others under way
    stack.kill("worker")
    before = stack("status", job_id, "--json")
    assert (before.code, before.json["phase"]) == (4, "index")
    assert stack("up").code == 0
    eventually(lambda: stack("status", job_id).code == 0)
    eventually(lambda: "IndexRepository" in _kept(stack, job_id))
    document = stack("trace", job_id, "--json").json
    return Traced(stack("status", job_id, "--json").json, document, list(decode(document)))


def _kept(stack, job_id: str) -> set[str]:
    """The names of the spans of a job that are on the disk by now."""
    directory = stack.home / "traces"
    spans = (span for path in directory.glob("*.jsonl") for span in read(directory, path.stem))
    return {span.name for span in spans if span.attributes.get("verdex.job_id") == job_id}


def test_it_is_one_trace_with_one_root_from_which_every_span_can_be_reached(killed: Traced):
    assert {span.trace_id for span in killed.spans} == {killed.job["trace_id"]}
    (root,) = [span for span in killed.spans if span.parent_span_id is None]
    assert root.name == "start job"
    children = defaultdict(list)
    for span in killed.spans:
        children[span.parent_span_id].append(span)

    def reached(span: StoredSpan) -> Iterator[str]:
        yield span.span_id
        for child in children[span.span_id]:
            yield from reached(child)

    assert sorted(reached(root)) == sorted(span.span_id for span in killed.spans)


def test_both_workers_and_the_command_are_in_it(killed: Traced):
    instances = defaultdict(set)
    for span in killed.spans:
        instances[span.resource["service.name"]].add(span.resource["service.instance.id"])
    assert {name: len(ids) for name, ids in instances.items()} == {"verdex": 1, WORKER: 2}
    by_name = defaultdict(set)
    for span in killed.spans:
        by_name[span.name].add(span.resource["service.instance.id"])
    assert len(by_name["scan"]) == len(by_name["publish"]) == 1
    assert by_name["scan"] != by_name["publish"]
    assert by_name["index_shard"] == by_name["scan"] | by_name["publish"]


def test_the_span_of_the_job_lasts_from_before_the_kill_until_after_the_publish(killed: Traced):
    spans = {span.name: span for span in killed.spans}
    job = spans["IndexRepository"]
    assert job.start_ns <= spans["preflight"].start_ns
    assert job.end_ns >= spans["publish"].end_ns


def test_the_shards_that_were_done_are_there_once_but_for_those_of_the_moment_before_the_kill(killed: Traced):
    done = [span for span in killed.spans if span.name == "index_shard" and span.status == "unset"]
    shards = [span.attributes["verdex.shard"] for span in done]
    assert len(set(shards)) == len(shards)
    assert len(set(range(max(shards))) - set(shards)) < CONCURRENT_SHARDS


def test_an_attempt_that_died_with_its_worker_is_there_as_one_that_failed(killed: Traced):
    lost = [span for span in killed.spans if span.status == "error"]
    assert {(span.name, span.attributes["error.type"]) for span in lost} == {("index_shard", "WorkerLost")}
    done = {span.attributes["verdex.shard"]: span for span in killed.spans if span.name == "index_shard"}
    for span in lost:
        again = done[span.attributes["verdex.shard"]]
        assert (span.attributes["verdex.attempt"], again.attributes["verdex.attempt"]) == (1, 2)
        assert span.end_ns <= again.start_ns


def test_the_command_draws_it_as_one_tree(fresh, killed: Traced):
    drawn = fresh.command("trace", killed.job["job_id"]).out
    lines = [line for line in drawn.splitlines() if line.strip()]
    roots = [line for line in lines[1:] if not line.startswith((" ", "│", "├", "└"))]
    assert [line.split("  ")[0] for line in roots] == ["start job"]
    assert "IndexRepository" in lines[2]


def test_as_json_it_is_otlp(killed: Traced):
    for resource in killed.document["resourceSpans"]:
        names = {attribute["key"] for attribute in resource["resource"]["attributes"]}
        assert {"service.name", "service.version", "service.instance.id"} <= names
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
                assert len(span["spanId"]) == 16
