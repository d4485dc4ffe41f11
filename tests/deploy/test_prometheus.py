"""The example of Prometheus asks for metrics that exist, in queries that parse, of runs that still run."""

import re

import promql_parser
import pytest
import yaml

from pipeline.metrics import COUNTERS, RUN
from tests.conftest import ROOT
from tests.deploy.test_grafana import EXPORTED, selectors

FOLDER = ROOT / "deploy" / "prometheus"
SETTINGS = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
(GROUP,) = yaml.safe_load((FOLDER / "moebius-rules.yml").read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}


@pytest.mark.parametrize("name", RULES)
def test_rule_parses_and_asks_for_what_is_exported(name):
    rule = RULES[name]
    promql_parser.parse(rule["expr"])
    found = re.findall(r"\b(ray_\w+)\{([^}]*)\}", rule["expr"])
    assert {metric for metric, _ in found} == {metric for metric, _ in selectors(rule["expr"])} <= EXPORTED.keys()
    for metric, labels in found:
        assert set(re.findall(r"(\w+)=", labels)) <= EXPORTED[metric]
    assert re.fullmatch(r"\d+m", rule["for"]) and rule["labels"]["severity"] in ("info", "warning")
    for text in rule["annotations"].values():
        assert set(re.findall(r"\{\{ \$labels\.(\w+) \}\}", text)) <= {RUN}


@pytest.mark.parametrize("name", RULES)
def test_rule_is_silent_about_runs_that_have_ended(name):
    """Their counters are still exported, but none of their gauges."""
    gauges = set(re.findall(r"ray_moebius_\w+", RULES[name]["expr"])) - {f"ray_moebius_{c}_total" for c in COUNTERS}
    assert gauges & {"ray_moebius_samples_to_do", "ray_moebius_model_calls"}


def test_settings_load_the_rules_and_scrape_no_faster_than_ray_exports():
    assert [(FOLDER / name).is_file() for name in SETTINGS["rule_files"]] == [True]
    assert int(SETTINGS["global"]["scrape_interval"].removesuffix("s")) >= 10
    jobs = {job["job_name"]: job for job in SETTINGS["scrape_configs"]}
    assert "prom_metrics_service_discovery.json" in str(jobs["ray"]["file_sd_configs"])
    ports = set(re.findall(r"name: (\w+), containerPort: 8080", (ROOT / "deploy/kuberay/rayjob.yaml").read_text()))
    assert ports == {"metrics"} and "metrics" in [rule["regex"] for rule in jobs["kuberay"]["relabel_configs"]]
