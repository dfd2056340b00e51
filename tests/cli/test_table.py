import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from verdex.cli.output import local_time, short_time
from verdex.cli.pages import Pages
from verdex.cli.table import jobs_table, text

MESSAGE = "PostgreSQL is not available: connection refused, which somebody should look at before long"
DEEP = "/home/somebody/projects/customers/a-long-name/repositories/web-shop"


def drawn(jobs, width: int, **console) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, **console).print(jobs_table(jobs, width))
    return file.getvalue().splitlines()


@pytest.fixture
def jobs(job):
    done = {"status": "completed", "result_status": "success", "duration_seconds": 200.0}
    return [
        job(status="failed", error_message=MESSAGE, repo_path=DEEP, duration_seconds=1.0),
        job(**done, files_indexed=1790),
        job(**{**done, "result_status": "partial"}, files_indexed=3, files_failed=2),
        job(phase="index", files_done=10, files_total=2000, started_at=datetime.now(UTC) - timedelta(seconds=61)),
    ]


def test_in_a_pipe_nothing_is_cut_and_columns_are_aligned(jobs):
    header, first, *others = text(jobs).splitlines()
    assert header.split() == ["job", "started", "status", "took", "project", "repository", "result"]
    assert first.startswith(f"{jobs[0].job_id}  {local_time(jobs[0].created_at)}  failed ")
    assert first.endswith(f"1.0 s  default  {DEEP}  {MESSAGE}")
    assert {line.index("default") for line in others} == {first.index("default")}
    assert [line.split("/srv/code")[1].strip() for line in others] == [
        "1,790 files",
        "3 files, 2 failed",
        "index; 10 of 2,000 files done",
    ]
    assert "\x1b" not in text(jobs)


def test_on_80_columns_a_row_is_a_line_with_the_end_of_the_path_and_the_begin_of_the_message(jobs):
    header, first, *others = drawn(jobs, 80)
    assert header.split() == ["job", "started", "status", "took", "repository", "result"]
    assert first.startswith(f"9153e592  {short_time(jobs[0].created_at)}  failed ")
    assert "web-shop  PostgreSQL is not" in first
    assert first.rstrip().endswith("…")
    assert "3 min 20 s  /srv/code" in others[0]


def test_a_job_under_way_shows_how_long_it_has_taken_so_far(jobs):
    assert "1 min 1 s " in drawn(jobs, 80)[-1]


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 200])
def test_no_row_is_wider_than_the_terminal_and_each_has_the_id_and_the_status(jobs, job, width):
    jobs = [*jobs, job(repo_path="/srv/" + "漢字" * 40, status="failed", error_message="故障" * 99)]
    lines = drawn(jobs, width)
    assert len(lines) == len(jobs) + 1
    assert max(map(cell_len, lines)) <= width
    assert all("9153e592" in line and one.status in line for line, one in zip(lines[1:], jobs, strict=True))


def test_a_wide_terminal_shows_whole_ids(jobs):
    assert drawn(jobs, 140)[1].startswith(jobs[0].job_id)


def test_the_project_is_shown_where_there_is_more_than_one(job):
    assert "project" not in drawn([job(), job()], 80)[0]
    assert "web" in drawn([job(), job(project_id="web")], 80)[2]


def test_colours_are_for_terminals_and_not_for_those_who_want_none(jobs, monkeypatch):
    assert "\x1b[1;31mfailed" in drawn(jobs, 80, force_terminal=True, color_system="standard")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in drawn(jobs, 80, force_terminal=True, color_system="standard")[1]


def test_with_force_color_also_a_pipe_has_colours(jobs, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1;31mfailed" in text(jobs)


def test_on_a_terminal_a_message_does_not_repeat_the_path_beside_it(job):
    failed = job(status="failed", repo_path="/nowhere", error_message="/nowhere does not exist")
    assert drawn([failed], 80)[1].rstrip().endswith("/nowhere    does not exist")
    assert text([failed]).endswith("/nowhere    /nowhere does not exist")


def link_to(job) -> Pages:
    return Pages(f"http://ui/{job.job_id}")


def test_on_a_terminal_an_id_is_a_link_to_the_web_ui_also_without_colours(jobs, monkeypatch):
    def sent(**options) -> str:
        file = io.StringIO()
        Console(file=file, width=80, force_terminal=True, **options).print(jobs_table(jobs, 80, link_to))
        return file.getvalue()

    monkeypatch.setenv("NO_COLOR", "1")
    assert f";http://ui/{jobs[0].job_id}\x1b\\9153e592\x1b]8;;" in sent(color_system="standard")
    assert "\x1b" not in sent(color_system=None)  # a dumb terminal


def test_names_and_messages_stay_in_their_row_and_are_no_markup(job):
    odd = job(status="failed", repo_path="/a\nb", error_message="[red]\x1b[31m bad\r", duration_seconds=1.0)
    assert text([odd]).splitlines()[1].endswith("  /a\\nb       [red]\\x1b[31m bad\\r")
