from pathlib import Path

import pytest

from verdex.errors import SettingsError
from verdex.settings import Settings


def test_without_any_variable_every_setting_has_a_default():
    settings = Settings.load()
    assert settings.home.is_absolute()
    assert (settings.task_queue, settings.database_url, settings.allowed_roots) == ("verdex", None, ())
    assert settings.processes > 0


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("VERDEX_DATABASE_URL", "mysql://somebody:hunter2@db/x", "should look like postgresql://user:password@"),
        ("VERDEX_TASK_QUEUE", "my queue", "match pattern"),
        ("VERDEX_TASK_QUEUE", "q" * 201, "at most 200 characters"),
        ("VERDEX_MAX_FILE_BYTES", "0", "greater than 0"),
        ("VERDEX_MAX_FILE_BYTES", "32 MB", "valid integer"),
        ("VERDEX_MAX_FAILED_RATIO", "1.5", "less than or equal to 1"),
        ("VERDEX_BLOCKED_LIMIT_SECONDS", "-1", "greater than or equal to 0"),
        ("VERDEX_BLOCKED_LIMIT_SECONDS", "inf", "less than or equal to 2592000"),
        ("VERDEX_RETENTION_DAYS", "-1", "greater than or equal to 0"),
        ("VERDEX_PROCESSES", "none", "valid integer"),
        ("VERDEX_EMBEDDER_API_KEY", "two words", "printable ascii without spaces"),
        ("VERDEX_EMBEDDER_API_KEY", "schlüssel", "printable ascii without spaces"),
        ("VERDEX_METRICS_ADDRESS", "localhost:9464", "should look like 127.0.0.1:9464"),
        ("VERDEX_METRICS_ADDRESS", ":9464", "should look like 127.0.0.1:9464"),
        ("VERDEX_METRICS_ADDRESS", "127.0.0.1:0", "should look like 127.0.0.1:9464"),
        ("VERDEX_METRICS_ADDRESS", "::1:9464", "should look like 127.0.0.1:9464"),
        ("VERDEX_UI_URL", "localhost:8080", "should look like http://localhost:8080"),
        ("VERDEX_UI_URL", "ftp://ui", "should look like http://localhost:8080"),
        ("VERDEX_UI_URL", "http://", "should look like http://localhost:8080"),
        ("VERDEX_UI_URL", "http://ui:port", "should look like http://localhost:8080"),
        ("VERDEX_UI_URL", "http://ui/?a=b", "should look like http://localhost:8080"),
        ("VERDEX_UI_URL", "http://ui/a b", "should look like http://localhost:8080"),
        ("VERDEX_UI_URL", "http://ui/\x1b[31m", "should look like http://localhost:8080"),
        (
            "VERDEX_TRACE_URL",
            "http://localhost:16686/trace/",
            "should look like http://localhost:16686/trace/{trace_id}",
        ),
        ("VERDEX_TRACE_URL", "{trace_id}", "should look like http://localhost:16686/trace/{trace_id}"),
        ("VERDEX_LOG_LEVEL", "loud", "'debug', 'info'"),
        ("VERDEX_HOME", "~nobody-of-that-name/x", "home directory"),
        ("VERDEX_ALLOWED_ROOTS", "/srv:~nobody-of-that-name", "home directory"),
        ("VERDEX_ALLOWED_ROOTS", "code", "code is not absolute"),
    ],
)
def test_a_bad_value_gives_one_line_that_names_the_variable_and_the_fix(monkeypatch, name, value, fix):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    message = str(refused.value)
    assert message.startswith(f"{name} is ")
    assert fix in message
    assert "\n" not in message


def test_every_variable_that_is_wrong_is_named(monkeypatch):
    monkeypatch.setenv("VERDEX_PROCESSES", "0")
    monkeypatch.setenv("VERDEX_MAX_FILE_BYTES", "0")
    with pytest.raises(SettingsError, match=r"VERDEX_MAX_FILE_BYTES.*; VERDEX_PROCESSES"):
        Settings.load()


def test_a_password_is_never_shown(monkeypatch):
    monkeypatch.setenv("VERDEX_DATABASE_URL", "mysql://somebody:hunter2@db/x")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("VERDEX_DATABASE_URL", "postgresql://somebody:hunter2@db/x")
    settings = Settings.load()
    assert "hunter2" not in repr(settings)
    assert settings.database_dsn == "postgresql://somebody:hunter2@db/x"


def test_a_key_is_never_shown(monkeypatch):
    monkeypatch.setenv("VERDEX_EMBEDDER_API_KEY", "sk-hunter2\n")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("VERDEX_EMBEDDER_API_KEY", "sk-hunter2")
    settings = Settings.load()
    assert "hunter2" not in repr(settings)
    assert settings.embedder_api_key is not None
    assert settings.embedder_api_key.get_secret_value() == "sk-hunter2"


def test_where_the_registry_is_needed_its_absence_says_what_to_set():
    with pytest.raises(SettingsError, match="VERDEX_DATABASE_URL is not set: give postgresql://"):
        _ = Settings().database_dsn


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("VERDEX_DATABASE_URL", "")
    monkeypatch.setenv("VERDEX_HOME", "")
    settings = Settings.load()
    assert settings.database_url is None
    assert settings.home != Path.cwd()


def test_a_directory_has_one_name_however_it_is_written(monkeypatch, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERDEX_HOME", "link/home")
    monkeypatch.setenv("VERDEX_ALLOWED_ROOTS", f"{tmp_path}/link/a:{tmp_path}/b:")
    settings = Settings.load()
    assert settings.home == tmp_path / "home"
    assert settings.allowed_roots == (tmp_path / "a", tmp_path / "b")


def test_the_log_level_may_be_written_in_small_letters(monkeypatch):
    monkeypatch.setenv("VERDEX_LOG_LEVEL", "debug")
    assert Settings.load().log_level == "DEBUG"


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "0.0.0.0:9464", "[::1]:9464"])
def test_metrics_may_be_served_at_any_address_and_are_served_nowhere_by_default(monkeypatch, address):
    assert Settings.load().metrics_address is None
    monkeypatch.setenv("VERDEX_METRICS_ADDRESS", address)
    assert Settings.load().metrics_address == address


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "https://somebody@temporal.example/ui/", "http://[::1]:8080//"]
)
def test_the_web_ui_may_be_behind_a_prefix_and_its_address_may_end_with_a_slash(monkeypatch, url):
    monkeypatch.setenv("VERDEX_UI_URL", url)
    assert Settings.load().ui_url == url.rstrip("/")


def test_the_page_of_a_trace_is_a_template_that_is_kept_as_it_is(monkeypatch):
    url = "https://grafana/explore?left={%22query%22:%22{trace_id}%22}#x"
    monkeypatch.setenv("VERDEX_TRACE_URL", url)
    assert Settings.load().trace_url == url
