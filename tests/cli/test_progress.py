import pytest

from verdex.cli.progress import ProgressBar, ProgressLines
from verdex.contracts import Job


def lines(capsys: pytest.CaptureFixture[str], *jobs: Job) -> list[str]:
    with ProgressLines() as view:
        for one in jobs:
            view.show(one)
    return capsys.readouterr().err.splitlines()


def test_a_log_has_one_line_for_each_phase(capsys, job):
    index = {"phase": "index", "files_total": 1790}
    assert lines(
        capsys,
        job(status="pending"),
        job(phase="scan"),
        job(phase="scan"),
        job(**index, files_done=1),
        job(**index, files_done=900),
        job(phase="publish"),
        job(status="completed", phase="publish"),
    ) == ["verdex: pending", "verdex: scanning", "verdex: indexing 1,790 files", "verdex: publishing"]


def test_a_block_is_told_once_however_often_it_is_tried_again(capsys, job):
    blocked = [job(status="blocked", phase="scan", status_message=f"no database (attempt {n} in 1 s)") for n in (2, 3)]
    assert lines(capsys, *blocked, job(phase="scan")) == [
        "verdex: blocked: no database (attempt 2 in 1 s)",
        "verdex: scanning",
    ]


def test_a_pending_job_says_what_it_waits_for(capsys, job):
    assert lines(capsys, job(status="pending", status_message="no worker is polling")) == [
        "verdex: pending: no worker is polling"
    ]


def test_a_note_is_said_once(capsys):
    with ProgressLines() as view:
        view.note("PostgreSQL is away")
        view.note("PostgreSQL is away")
    assert capsys.readouterr().err == "verdex: PostgreSQL is away\n"


def test_a_message_is_never_taken_for_markup(capsys, job):
    with ProgressBar() as view:
        view.show(job(status="blocked", status_message="[/srv] is away"))
        view.note("[/srv] is away")
    assert "verdex: [/srv] is away" in capsys.readouterr().err
