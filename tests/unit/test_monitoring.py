"""Alerts, their runbook and the dashboard speak of metrics that exist, with labels that they have."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from deploy.admin import Admin
from deploy.cli.main import app as commands
from tests import tools

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "crossdock.rules.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/crossdock.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']} {one['refId']}": one["expr"] for panel in PANELS for one in panel["targets"]}
PROCESSES = ("ingress.hooks.app", "ingress.api.app", "deploy.process", *(
    f"workers.{kind}.worker" for kind in ("store", "route", "deliver", "poll")
))  # fmt: skip
OF_A_TARGET = {"instance", "job"}
"""Labels that Prometheus itself adds."""


def promtool(*args: str, cwd: Path = FOLDER) -> None:
    """Fails with what promtool says."""
    try:
        code, said = tools.run("promtool", *args, cwd=cwd)
    except tools.Missing as why:
        pytest.skip(f"the rules can't be checked: {why}")
    assert code == 0, said


@pytest_asyncio.fixture
async def exposed() -> dict[str, str]:
    """Every metric of every process by its type, as /metrics says them."""
    for name in PROCESSES:
        importlib.import_module(name)
    admin = Admin("127.0.0.1", 0, list)
    await admin.start()
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{admin.url}/metrics") as answer:
            text = await answer.text()
    finally:
        await admin.stop()
    return dict(re.findall(r"^# TYPE (crossdock_\w+) (\w+)$", text, re.MULTILINE))


def samples(exposed: dict[str, str]) -> dict[str, set[str]]:
    """Every name that may stand in a query, with the labels it has."""
    labels = {
        collector._name: set(collector._labelnames)
        for collector in REGISTRY._collector_to_names
        if isinstance(collector, MetricWrapperBase)
    }
    found: dict[str, set[str]] = {}
    for name, kind in exposed.items():
        if name.endswith("_created"):
            continue
        has = labels[name.removesuffix("_total")]
        if kind == "histogram":
            found |= {f"{name}_bucket": has | {"le"}, f"{name}_sum": has, f"{name}_count": has}
        else:
            found[name] = has
    return found


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """Every metric in a query, with the labels that are chosen by."""
    found = re.findall(r"(crossdock_\w+)(?:\{([^}]*)\})?", re.sub(r'"(?:\\.|[^"])*"', '""', query))
    return [(name, set(re.findall(r"(\w+)(?=[!=]~?|=)", chosen))) for name, chosen in found]


def grouped(query: str) -> set[str]:
    """Labels that anything is grouped by."""
    return {label for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.replace(" ", "").split(",")}


@pytest.mark.parametrize("name", [*QUERIES, *(rule["alert"] for rule in RULES)])
def test_every_query_names_metrics_and_labels_that_exist(name: str, exposed: dict[str, str]) -> None:
    query = QUERIES.get(name) or next(rule["expr"] for rule in RULES if rule["alert"] == name)
    known = samples(exposed)
    named = selectors(query)
    assert named
    assert {metric for metric, _ in named} - known.keys() == set()
    for metric, labels in named:
        assert labels <= known[metric], metric
    assert grouped(query) <= set.union(*(known[metric] for metric, _ in named)) | OF_A_TARGET


async def test_a_query_of_a_metric_that_does_not_exist_is_noticed(exposed: dict[str, str]) -> None:
    known = samples(exposed)
    ((metric, labels),) = selectors('sum by (queue) (crossdock_queue_depth{queue=~"a\\\\.b", x!="{y}"})')
    assert metric not in known
    assert labels == {"queue", "x"}
    assert known["crossdock_refused_total"] == {"platform", "account", "reason"}


def test_every_panel_is_told_apart_and_explained() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", "crossdock.rules.yml")


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "crossdock.test.yml")


def test_every_rule_is_tested_both_ways() -> None:
    tests = yaml.safe_load((FOLDER / "crossdock.test.yml").read_text())["tests"]
    cases = [(one["alertname"], bool(one["exp_alerts"])) for test in tests for one in test["alert_rule_test"]]
    for rule in RULES:
        assert (rule["alert"], True) in cases
        assert (rule["alert"], False) in cases


def test_every_query_of_the_dashboard_can_be_parsed(tmp_path: Path) -> None:
    """As recording rules, which is what promtool reads."""
    queries = [query.replace("$__rate_interval", "5m") for query in QUERIES.values()]
    rules = [{"record": f"panel:{place}", "expr": query} for place, query in enumerate(queries)]
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", "dashboard.yml", cwd=tmp_path)


def test_every_alert_has_its_section_in_the_runbook_and_no_section_is_left_over() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_runbook_names_commands_and_metrics_that_exist(exposed: dict[str, str]) -> None:
    text = (ROOT / "docs/runbook.md").read_text()
    assert {metric for metric, _ in selectors(text)} <= samples(exposed).keys() | exposed.keys()
    names = {command.name for command in commands.registered_commands}
    names |= {group.name for group in commands.registered_groups}
    assert set(re.findall(r"`crossdock\s+([a-z]+)", text)) <= names
