import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from verdex.cli.pages import Pages
from verdex.cli.watching import ChangedJobs, LiveJobs
from verdex.contracts import Job, JobEvent

OTHER = "01a2047f-b17f-7210-b2e4-f1e37dd7cce9"


def nowhere(_: Job) -> Pages:
    return Pages()


def test_elsewhere_than_on_a_terminal_each_change_is_a_line(job, capsys):
    index = {"phase": "index", "files_total": 20}
    with ChangedJobs(as_json=False) as view:
        for one in (job(phase="scan"), job(phase="scan"), job(**index), job(**index, files_done=9)):
            view.show(one)
        view.show(job(status="failed", error_message="it broke"))
    told = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "9153e592  running  scan",
        "9153e592  running  index; 0 of 20 files done",
        "9153e592  failed  it broke",
    ]


def test_of_many_jobs_those_that_change_are_told_the_newest_last(job, capsys):
    with ChangedJobs(as_json=False) as view:
        view.show_all([job(), job(job_id=OTHER)])
        view.show_all([job(), job(job_id=OTHER, status="cancelled")])
    assert [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "7dd7cce9",
        "9153e592",
        "7dd7cce9",
    ]


def test_with_json_each_change_is_a_document_in_a_line(job, capsys):
    with ChangedJobs(as_json=True) as view:
        view.show(job())
        view.show(job(status="failed", error_message="it broke"))
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == ["running", "failed"]


def test_a_note_goes_to_stderr_once(capsys):
    with ChangedJobs(as_json=False) as view:
        view.note("away")
        view.note("away")
    assert capsys.readouterr() == ("", "verdex: away\n")


@pytest.fixture
def terminal() -> Console:
    """A terminal of 80 columns; its file keeps what it was sent."""
    return Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)


def test_on_a_terminal_a_job_is_drawn_in_place_and_goes(job, terminal):
    with LiveJobs(lambda one: Pages(f"http://ui/{one.job_id}"), transient=True, console=terminal) as view:
        view.show(job(phase="scan"))
        view.show(job(phase="index"))
        view.note("\x1b[2Jaway")
    sent = terminal.file.getvalue()
    assert "verdex: \\x1b[2Jaway" in sent
    assert sent.rstrip().endswith("\x1b[2K")


def test_on_a_terminal_an_address_is_one_line_and_a_link_however_long_it_is(job):
    page, file = f"http://ui/{'x' * 200}", io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=80, color_system="standard")
    with LiveJobs(lambda _: Pages(page), transient=False, console=terminal) as view:
        view.show(job(phase="scan"))
    (line,) = [line for line in file.getvalue().splitlines() if "Web UI" in line]
    assert f";{page}\x1b\\http://ui/xxx" in line
    assert "xx…" in line


def test_on_a_terminal_the_last_table_stays(job, terminal):
    with LiveJobs(nowhere, transient=False, console=terminal) as view:
        view.show_all([job(phase="scan")])
    shown, left = terminal.file.getvalue().rsplit("job ", 1)
    assert "Ctrl-C ends this" in shown
    assert "\n9153e592  " in left
    assert "Ctrl-C" not in left


def test_on_a_terminal_a_block_tells_since_when_also_from_before_it_was_watched(job, terminal):
    before = JobEvent(at=datetime.now(UTC) - timedelta(seconds=90), event="blocked", message="away (attempt 2 in 5 s)")
    with LiveJobs(nowhere, events=[before], transient=False, console=terminal) as view:
        view.show(job(status="blocked", status_message="away (attempt 3 in 60 s)"))
    sent = terminal.file.getvalue()
    assert "(1 min 30 s ago)" in sent
    assert "attempt 3, in " in sent
