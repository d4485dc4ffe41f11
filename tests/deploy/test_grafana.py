"""The dashboard asks for metrics that exist, in queries that parse."""

import json
import re

import promql_parser
import pytest

from pipeline.metrics import COUNTERS, GAUGES, HISTOGRAMS, PREFIX, RUN
from tests.conftest import ROOT

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "moebius.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPORTED = {
    **{f"ray_{PREFIX}{name}_total": {RUN, *labels} for name, (_, labels) in COUNTERS.items()},
    **{f"ray_{PREFIX}{name}": {RUN} for name in GAUGES},
    **{f"ray_{PREFIX}{name}_bucket": {RUN, "le"} for name in HISTOGRAMS},
    **{f"ray_{PREFIX}{name}_{part}": {RUN} for name in HISTOGRAMS for part in ("sum", "count")},
}
OF_RAY = {"NodeAddress", "WorkerId", "SessionName", "Version", "Component"}  # labels that Ray adds


def parse(query: str) -> promql_parser.Expr:
    for variable, value in {"$__rate_interval": "2m", "$run": ".*"}.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return promql_parser.parse(query)


def selectors(query: str) -> list[tuple[str, set[str]]]:
    found = re.findall(r"\b(ray_\w+)\{([^}]*)\}", query)
    assert len(found) == len(re.findall(r"\bray_", query)), "a metric that is not narrowed down to the runs"
    return [(name, set(re.findall(r'(\w+)=~?"', labels))) for name, labels in found]


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_query_parses_and_asks_for_what_is_exported(title, query):
    parse(query)
    for name, matched in selectors(query):
        assert name in EXPORTED, title
        assert RUN in matched and matched <= EXPORTED[name]
        for grouping in re.findall(r"by \(([^)]*)\)", query):
            assert set(grouping.split(", ")) <= EXPORTED[name] | OF_RAY, title
    for label in re.findall(r"{{(\w+)}}", json.dumps(DASHBOARD)):
        assert any(label in labels for labels in (*EXPORTED.values(), OF_RAY))


def test_time_left_is_that_of_running_runs_alone():
    """Ray goes on to export the counters of runs that have ended, but none of their gauges."""
    (query,) = [query for title, query in QUERIES if title == "Time left"]
    running = r" and on \(run\) ray_moebius_samples_to_do\{"
    counters = len(re.findall("ray_moebius_samples_total", query))
    assert counters == len(re.findall(rf"ray_moebius_samples_total\{{[^}}]*\}}(\[\w+\]\))?{running}", query)) == 2


def test_every_metric_is_on_the_dashboard():
    shown = {name for _, query in QUERIES for name, _ in selectors(query)}
    missing = {name for name in EXPORTED if name not in shown and not re.search("_(sum|count)$", name)}
    assert missing == set()


def test_faulty_query_is_noticed():
    with pytest.raises(ValueError):
        parse("sum(rate(ray_moebius_windows_total[5m])")


def test_panels_lie_beside_each_other_inside_the_page_and_have_what_grafana_reads():
    covered = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        fields = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not covered & fields and all(0 <= x < 24 for x, _ in fields), panel["title"]
        covered |= fields
        assert panel["type"] in ("stat", "timeseries", "bargauge")
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "run"} and DASHBOARD["schemaVersion"] >= 39
