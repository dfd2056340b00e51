import pytest

from verdex.cli.pages import Pages, pages
from verdex.cli.session import Session

WEB_UI = "http://ui:8080/temporal"
TRACES = "https://traces/{trace_id}?from={trace_id}&x={y}"


def test_a_job_has_a_page_of_its_run_in_its_namespace(job):
    one = job(workflow_id="index:default:a b/c:0")
    told = pages(one, ui_url=WEB_UI, namespace="team.a/b", trace_url=None)
    assert told == Pages(f"{WEB_UI}/namespaces/team.a%2Fb/workflows/index:default:a%20b%2Fc:0/{one.job_id}")


def test_the_id_of_the_trace_goes_into_the_template_and_nothing_else_does(job):
    told = pages(job(trace_id="a" * 32), ui_url=None, namespace="default", trace_url=TRACES)
    assert told == Pages(trace=f"https://traces/{'a' * 32}?from={'a' * 32}&x={{y}}")


def test_a_job_that_has_no_trace_yet_has_no_page_of_it(job):
    assert pages(job(trace_id=None), ui_url=None, namespace="default", trace_url=TRACES) == Pages()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Services of one's own; nobody asks them here."""
    monkeypatch.setenv("VERDEX_DATABASE_URL", "postgresql://db/registry")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal:7233")
    return monkeypatch


def test_of_services_elsewhere_the_settings_tell_the_pages(job, elsewhere):
    one = job(trace_id="a" * 32)
    assert Session().pages(one) == Pages()
    elsewhere.setenv("VERDEX_UI_URL", "https://ui/")
    elsewhere.setenv("VERDEX_TRACE_URL", "https://traces/{trace_id}")
    elsewhere.setenv("TEMPORAL_NAMESPACE", "team")
    page = f"https://ui/namespaces/team/workflows/{one.workflow_id}/{one.job_id}"
    assert Session().pages(one) == Pages(page, f"https://traces/{one.trace_id}")


def test_the_namespace_may_stand_in_a_profile(job, elsewhere, tmp_path):
    profile = tmp_path / "temporal.toml"
    profile.write_text('[profile.night]\nnamespace = "of-the-profile"\n')
    elsewhere.setenv("TEMPORAL_CONFIG_FILE", str(profile))
    elsewhere.setenv("TEMPORAL_PROFILE", "night")
    elsewhere.setenv("VERDEX_UI_URL", "http://ui")
    assert "/namespaces/of-the-profile/" in (Session().pages(job()).web_ui or "")
