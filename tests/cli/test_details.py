from datetime import UTC, datetime, timedelta

import click

from verdex.cli import details
from verdex.cli.details import event_lines
from verdex.cli.output import local_time
from verdex.cli.pages import Pages
from verdex.contracts import JobEvent

PAGE = "http://127.0.0.1:8233/namespaces/default/workflows/w/r"
TRACE = f"http://127.0.0.1:16686/trace/{'a' * 32}"
REASON = "PostgreSQL is not available: connection refused"


def rows(*arguments, **options) -> list[str]:
    return click.unstyle(details.details(*arguments, **options)).splitlines()


def value(told: list[str], name: str) -> str:
    (found,) = [line for line in told if line.startswith(f"  {name} ")]
    return found.removeprefix(f"  {name}").strip()


def test_a_failed_job_begins_with_its_message_and_the_type_of_the_error(job):
    told = rows(job(status="failed", error_message="it broke", error_type="RootNotFound", duration_seconds=1.0))
    assert told[0] == "failed  it broke"
    assert value(told, "error type") == "RootNotFound"


def test_what_there_is_not_is_left_out(job):
    told = "\n".join(rows(job(phase="scan")))
    assert not any(name in told for name in ("ended", "took", "attempt", "next try", "asked for", "Web UI", "trace"))


def test_the_trace_and_the_page_in_the_web_ui_are_at_hand(job):
    told = rows(job(trace_id="a" * 32), pages=Pages(PAGE, TRACE))
    assert f"  trace      {'a' * 32}  (verdex trace 9153e592)" in told
    assert value(told, "Web UI") == PAGE
    assert value(told, "trace page") == TRACE


def test_a_job_that_waited_for_a_worker_says_when_it_was_asked_for(job):
    asked = datetime.now(UTC) - timedelta(minutes=3)
    assert value(rows(job(created_at=asked)), "asked for") == f"{local_time(asked)} (3 min 0 s ago)"


def test_a_block_tells_the_reason_the_next_try_and_since_when(job):
    message, now = f"{REASON} (attempt 4 in 30 s)", datetime.now(UTC)
    events = [
        JobEvent(at=now - timedelta(seconds=99), event="running"),
        JobEvent(at=now - timedelta(seconds=40), event="blocked", message="earlier"),
        JobEvent(at=now - timedelta(seconds=10), event="blocked", message=message),
    ]
    blocked = job(status="blocked", phase="publish", attempt=3, status_message=message)
    told = rows(blocked, events)
    assert told[0] == f"blocked  publish; {REASON}"
    assert value(told, "held up") == f"since {local_time(events[1].at)} (40 s ago)"
    assert value(told, "next try").startswith("attempt 4, in ")
    assert value(told, "next try").endswith(f" s, at {local_time(now + timedelta(seconds=20))}")
    overdue = [event.model_copy(update={"at": event.at - timedelta(minutes=1)}) for event in events]
    assert value(rows(blocked, overdue), "next try").startswith("attempt 4, due since ")


def test_a_block_of_which_no_events_are_known_still_tells_the_next_try(job):
    told = rows(job(status="blocked", status_message=f"{REASON} (attempt 2 in 0.5 s)"))
    assert value(told, "next try") == "attempt 2, 0.5 s after the last"


def test_a_block_without_a_next_try_keeps_its_message(job):
    assert rows(job(status="blocked", status_message="something else"))[0] == "blocked  something else"


def test_names_and_messages_stay_in_one_line(job):
    assert value(rows(job(repo_path="/a\n\x1b[2Jb")), "repository") == "/a\\n\\x1b[2Jb"


def test_of_many_attempts_that_were_held_up_alike_the_first_and_the_last_are_shown():
    at = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    held_up = [
        JobEvent(at=at, event="blocked", phase="scan", attempt=n, message=f"starting up (attempt {n + 1} in 8 s)")
        for n in range(1, 6)
    ]
    other = JobEvent(at=at, event="blocked", phase="scan", attempt=6, message="refused (attempt 7 in 8 s)")
    lines = list(event_lines([JobEvent(at=at, event="running", phase="scan"), *held_up, other]))
    assert len(lines) == 5
    assert lines[1].endswith("starting up (attempt 2 in 8 s)")
    assert lines[2] == "  … 3 more like it"
    assert lines[3].endswith("starting up (attempt 6 in 8 s)")
    assert lines[4].endswith("refused (attempt 7 in 8 s)")
