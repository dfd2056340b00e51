import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import TracerProvider
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from verdex.telemetry import bind, redact, set_up_logging

log = logging.getLogger("verdex.tests")


class Lines:
    """The stream that the process logs to."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def text(self) -> str:
        return self.stream.getvalue()

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # setting up closes what it replaces, and pytest still needs its own
    yield Lines()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def json_lines(lines: Lines) -> Lines:
    set_up_logging(json=True, stream=lines.stream)
    return lines


def test_a_record_is_one_json_object_a_line_with_its_extras(json_lines: Lines) -> None:
    log.info("indexed %d files\nand more", 3, extra={"job_id": "j1", "errors_count": 0, "error": None})
    (line,) = json_lines.json()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "verdex.tests",
        "message": "indexed 3 files\nand more",
        "job_id": "j1",
        "errors_count": 0,
        "error": None,
    }


def test_an_exception_gives_its_type_message_and_traceback(json_lines: Lines) -> None:
    try:
        raise ConnectionRefusedError("nobody listens")
    except OSError:
        log.exception("preflight failed")
    (line,) = json_lines.json()
    assert (line["error_type"], line["error"]) == ("ConnectionRefusedError", "nobody listens")
    assert "raise ConnectionRefusedError" in line["traceback"]


def test_an_extra_field_cannot_replace_the_heading(json_lines: Lines) -> None:
    log.info("true", extra={"level": "DEBUG", "logger": "other"})
    (line,) = json_lines.json()
    assert (line["level"], line["logger"]) == ("INFO", "verdex.tests")


def test_values_that_json_does_not_know_become_text(json_lines: Lines) -> None:
    log.info("odd", extra={"path": ["caf\udce9", {1}], "kind": ValueError, "counts": {1: 2.5}})
    (line,) = json_lines.json()
    assert line["path"] == ["caf?", [1]]
    assert line["kind"] == "<class 'ValueError'>"
    assert line["counts"] == {"1": 2.5}


def test_lines_inside_a_span_carry_its_ids(json_lines: Lines) -> None:
    with TracerProvider().get_tracer("tests").start_as_current_span("step") as span:
        log.info("inside")
    log.info("outside")
    inside, outside = json_lines.json()
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


def test_bound_fields_are_on_every_line_inside_and_nest(json_lines: Lines) -> None:
    with bind(job_id="j1", project_id="p"):
        with bind(phase="scan"):
            log.info("inner")
        log.info("outer")
    log.info("outside")
    inner, outer, outside = json_lines.json()
    assert (inner["job_id"], inner["project_id"], inner["phase"]) == ("j1", "p", "scan")
    assert "phase" not in outer
    assert "job_id" not in outside


async def test_bound_fields_follow_into_tasks_and_threads(json_lines: Lines) -> None:
    async def work() -> None:
        log.info("in a task")

    with bind(job_id="j1"):
        await asyncio.create_task(work())
        await asyncio.to_thread(log.info, "in a thread")
    assert [line["job_id"] for line in json_lines.json()] == ["j1", "j1"]


def test_threads_of_other_jobs_do_not_see_bound_fields(json_lines: Lines) -> None:
    with bind(job_id="j1"):
        thread = threading.Thread(target=log.info, args=("another job",))
        thread.start()
        thread.join()
        copy_context().run(log.info, "the same job")
    assert [line.get("job_id") for line in json_lines.json()] == [None, "j1"]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_fields_of_temporals_loggers_are_flat_and_not_repeated_in_the_message(lines: Lines, as_json: bool) -> None:
    set_up_logging(json=as_json, stream=lines.stream)
    ActivityEnvironment().run(activity.logger.warning, "slow")
    if as_json:
        (line,) = lines.json()
        assert line["message"] == "slow"
        assert (line["workflow_id"], line["run_id"], line["attempt"]) == ("test", "test-run", 1)
        assert line["activity"] == "unknown"
        assert "temporal_activity" not in line
    else:
        assert " temporalio.activity: slow workflow_id=test " in lines.text()


def test_the_human_format_shows_fields_and_traceback(lines: Lines) -> None:
    set_up_logging(json=False, stream=lines.stream)
    try:
        raise ValueError("bad row")
    except ValueError:
        with bind(job_id="j1"):
            log.exception("failed", extra={"attempt": 2})
    first, *_, last = lines.text().splitlines()
    assert first.endswith("ERROR   verdex.tests: failed job_id=j1 attempt=2")
    assert last == "ValueError: bad row"


def test_records_below_the_level_are_not_logged(lines: Lines) -> None:
    set_up_logging(json=True, level="warning", stream=lines.stream)
    log.info("quiet")
    log.warning("loud")
    assert [line["message"] for line in lines.json()] == ["loud"]


def test_requests_over_http_are_no_lines_unless_something_is_wrong(json_lines: Lines) -> None:
    for level in (logging.INFO, logging.WARNING):
        logging.getLogger("httpx2").log(level, "of level %s", level)
    assert [line["message"] for line in json_lines.json()] == ["of level 30"]


def test_an_unknown_level_is_refused(lines: Lines) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        set_up_logging(json=True, level="loud", stream=lines.stream)


def test_setting_up_again_replaces_the_first_format(lines: Lines) -> None:
    set_up_logging(json=False, stream=sys.stderr)
    set_up_logging(json=True, stream=lines.stream)
    log.info("once")
    assert len(lines.json()) == 1


def test_warnings_of_python_are_lines_as_well(json_lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("soon to go", FutureWarning, stacklevel=1)
    (line,) = json_lines.json()
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_password_reaches_no_part_of_a_line(lines: Lines, as_json: bool) -> None:
    set_up_logging(json=as_json, stream=lines.stream)
    url = "postgresql://ann:s3cret@db:5432/registry"
    try:
        raise ConnectionError(f"cannot reach {url}")
    except ConnectionError:
        with bind(database=url):
            log.exception("no answer from %s", url, extra={"error_cause": [url]})
    assert "s3cret" not in lines.text()
    assert "postgresql://ann:***@db:5432/registry" in lines.text()


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://ann:s3cret@db/x", "postgresql://ann:***@db/x"),
        ("postgres://:s3cret@db/x is down", "postgres://:***@db/x is down"),
        ("postgresql://ann:s3@cr/et@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://db/x?user=ann&password=s3cret&port=1", "postgresql://db/x?user=ann&password=***&port=1"),
        ("host=db password='s3 cret' user=ann", "host=db password=*** user=ann"),
        ("PGPASSWORD=s3cret psql", "PGPASSWORD=*** psql"),
        ("connect(host='db', password='s3cret')", "connect(host='db', password=***)"),
        ("postgresql://ann@db:5432/x", "postgresql://ann@db:5432/x"),
        ("http://localhost:8233/namespaces", "http://localhost:8233/namespaces"),
        ('password authentication failed for user "ann"', 'password authentication failed for user "ann"'),
    ],
)
def test_passwords_are_replaced_and_nothing_else(text: str, redacted: str) -> None:
    assert redact(text) == redacted


class Unshowable(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


ODD: dict[str, Any] = {
    "newlines": "a\nb\r\nc\x0bd\x0ce\x1cf\x85g\u2028h\u2029i\0",
    "surrogate": "caf\udce9",
    "unshowable": Unshowable(),
    "inside": [{Unshowable(): Unshowable()}],
    "numbers": [float("nan"), float("inf"), 10**5000, True, 1.5],
    "bytes": b"\xff",
    "many": list(range(1_000_000)),
    "long": "x" * 1_000_000,
}


@pytest.mark.parametrize("name", ODD)
def test_each_line_is_json_of_a_bounded_size_whatever_is_logged(lines: Lines, name: str) -> None:
    set_up_logging(json=True, stream=lines.stream)
    log.warning("odd: %s", ODD[name], extra={"odd": ODD[name]})
    assert len(lines.text().splitlines()) == 1
    json.loads(lines.text(), parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert len(lines.text()) < 20_000


def test_a_field_that_holds_itself_is_cut_off(json_lines: Lines) -> None:
    endless: dict[str, Any] = {}
    endless["more"] = endless
    log.info("deep", extra={"endless": endless})
    assert len(json_lines.text()) < 1_000
    assert json_lines.json()[0]["endless"]["more"]["more"]


def test_a_long_text_keeps_its_begin_and_its_end_and_says_what_is_missing(json_lines: Lines) -> None:
    log.info("%s", "a" * 100_000 + "b" * 100_000)
    message = json_lines.json()[0]["message"]
    assert (message[:4_000], message[-4_000:]) == ("a" * 4_000, "b" * 4_000)
    assert message[4_000:-4_000] == " … 192,000 characters left out … "


@pytest.mark.parametrize("as_json", [True, False])
def test_arguments_that_do_not_fit_the_message_lose_no_line(lines: Lines, as_json: bool) -> None:
    set_up_logging(json=as_json, stream=lines.stream)
    log.warning("only %d of %d", 1)  # noqa: PLE1206
    log.warning("%d", "no number")
    log.warning("it was %s", Unshowable())
    assert len(lines.text().splitlines()) == 3
    assert "only %d of %d" in lines.text()


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_without_a_text_has_a_line(lines: Lines, as_json: bool) -> None:
    set_up_logging(json=as_json, stream=lines.stream)
    try:
        raise Unshowable
    except Unshowable:
        log.exception("failed")
    assert "Unshowable" in lines.text()
    assert "Logging error" not in lines.text()
    if as_json:
        assert lines.json()[0]["error"] == "<Unshowable that cannot be shown: RuntimeError>"


def test_a_person_reads_one_line_an_event_and_no_codes_that_a_terminal_obeys(lines: Lines) -> None:
    set_up_logging(json=False, stream=lines.stream)
    log.info(
        "red \x1b[31m\x9b", extra={"error": "first\nsecond", "job_id": "j", "run_id": "j", "attempt": 1, "x": None}
    )
    assert lines.text().endswith("red \\x1b[31m\\x9b error='first\\nsecond' job_id=j\n")


def test_a_line_about_another_trace_has_not_the_span_of_this_one(json_lines: Lines) -> None:
    with TracerProvider().get_tracer("tests").start_as_current_span("step"):
        log.info("other", extra={"trace_id": "a" * 32})
    (line,) = json_lines.json()
    assert line["trace_id"] == "a" * 32
    assert "span_id" not in line


class CoreLog:
    """As Temporal's core hands them over."""

    message = "poll failed"
    fields: ClassVar[dict[str, Any]] = {"run_id": "r", "workflow_id": "w", "error": "http://x:s3cret@h"}


def test_the_lines_of_temporals_core_have_its_fields(json_lines: Lines) -> None:
    log.warning("[sdk_core::x] poll failed {'run_id': …}", extra={"temporal_log": CoreLog()})
    (line,) = json_lines.json()
    assert (line["message"], line["run_id"], line["workflow_id"]) == ("poll failed", "r", "w")
    assert line["error"] == "http://***@h"
