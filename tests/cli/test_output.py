from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from verdex.cli import output, terminal
from verdex.contracts import FileOutcome, Job


def job(**fields: Any) -> Job:
    """A job that began at noon of a day."""
    given = {
        "job_id": "j",
        "project_id": "default",
        "repo_path": "/srv/code",
        "status": "running",
        "workflow_id": "index:default:code:0",
        "created_at": datetime(2026, 11, 22, 12, tzinfo=UTC),
    }
    return Job.model_validate({**given, **fields})


def completed(**fields: Any) -> Job:
    return job(
        status="completed", result_status="success", files_indexed=3, chunks_total=7, duration_seconds=1, **fields
    )


def headline(one: Job) -> str:
    return click.unstyle(output.headline(one))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.99, "10 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (-0.3, "0.0 s"),
    ],
)
def test_a_duration_is_as_exact_as_a_person_needs(seconds, shown):
    assert output.duration(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 files"), (1, "1 file"), (1790, "1,790 files")])
def test_a_number_stands_with_its_noun(count, shown):
    assert output.plural(count, "file") == shown


def test_times_are_shown_in_the_zone_of_the_reader():
    now = datetime.now(UTC)
    assert output.local_time(now) == now.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert output.local_time(None) == ""


def test_a_completed_job_tells_what_the_index_holds_and_what_this_run_did():
    told = headline(completed(files_added=2, files_deleted=1, files_unchanged=1))
    assert told == "completed  3 files, 7 chunks indexed (2 added, 1 deleted; 1.0 s)"


def test_a_run_that_changed_nothing_says_so_and_shows_the_totals():
    assert headline(completed(files_unchanged=3)) == "completed  nothing changed: 3 files, 7 chunks indexed (1.0 s)"


def test_a_forced_run_does_not_say_that_nothing_changed():
    told = headline(completed(files_unchanged=3, force_reindex=True))
    assert told == "completed  3 files, 7 chunks indexed (all 3 files indexed anew; 1.0 s)"


def test_a_partial_result_is_told_in_a_line_of_its_own():
    lines = headline(completed(files_added=3, files_failed=1, error_message="1 of 4 files could not be indexed: a: b"))
    assert lines.split("\n") == [
        "completed  3 files, 7 chunks indexed (3 added, 1 failed; 1.0 s)",
        "partial  1 of 4 files could not be indexed: a: b",
    ]


def test_a_failed_job_shows_its_message():
    assert headline(job(status="failed", error_message="it broke")) == "failed  it broke"


def test_a_job_under_way_shows_phase_progress_and_what_holds_it_up():
    told = headline(job(status="blocked", phase="index", files_done=10, files_total=2000, status_message="no database"))
    assert told == "blocked  index; 10 of 2,000 files done; no database"
    assert headline(job(status="cancelled", phase="scan", status_message="on request")) == "cancelled  on request"


def test_names_and_messages_stay_in_one_line_and_move_no_cursor():
    file = FileOutcome(path="a\n\x1b[31mb", size=1, outcome="failed", reason="odd\r")
    assert output.file_line(file) == "failed   a\\n\\x1b[31mb  (odd\\r)"


def test_a_time_of_today_is_short_and_one_long_ago_has_its_year():
    now = datetime.now(UTC)
    assert output.short_time(now) == now.astimezone().strftime("%H:%M:%S")
    assert output.short_time(datetime(2001, 2, 3, 12, tzinfo=UTC)) == "2001-02-03"


@pytest.mark.parametrize(("seconds", "told"), [(0, "just now"), (-60, "just now"), (100, "1 min 40 s ago")])
def test_how_long_ago_something_was_stands_beside_its_time(seconds, told):
    time = datetime.now(UTC) - timedelta(seconds=seconds)
    assert output.time_ago(time) == f"{output.local_time(time)} ({told})"


def test_no_color_leaves_what_is_no_colour(monkeypatch):
    assert terminal.styled("x", colour="red", bold=True) == "\x1b[31m\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.styled("x", colour="red", bold=True) == "\x1b[1mx\x1b[0m"
    assert terminal.styled("x", colour="red") == "x"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"NO_COLOR": "1"}, None),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, None),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_whether_there_are_escape_codes_is_for_the_terminal_to_say_unless_somebody_does(
    monkeypatch, environment, wanted
):
    for name, given in environment.items():
        monkeypatch.setenv(name, given)
    assert terminal.wants_styles() is wanted
