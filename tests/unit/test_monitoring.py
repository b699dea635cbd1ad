"""Alerts, their runbook and the dashboard speak of metrics that exist, with labels that they have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from deploy.cli.main import app as commands
from ingress.console.routes import ROUTES
from storage import roles
from tests.support import promql, tools

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "crossdock.rules.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/crossdock.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}


def promtool(*args: str, cwd: Path = FOLDER) -> None:
    """Fails with what promtool says."""
    try:
        code, output = tools.run("promtool", *args, cwd=cwd)
    except tools.MissingToolError as why:
        pytest.skip(f"the rules can't be checked: {why}")
    assert code == 0, output


@pytest_asyncio.fixture
async def known() -> dict[str, set[str]]:
    return await promql.exposed()


@pytest.mark.parametrize("name", [*QUERIES, *(rule["alert"] for rule in RULES)])
def test_every_query_names_metrics_and_labels_that_exist(name: str, known: dict[str, set[str]]) -> None:
    query = QUERIES.get(name) or next(rule["expr"] for rule in RULES if rule["alert"] == name)
    assert promql.problems(query, known) == []


def test_unknown_metrics_and_labels_are_reported(known: dict[str, set[str]]) -> None:
    query = 'sum by (queue, colour) (crossdock_queue_messages{queue=~"a\\\\.b", x!="{y}"}) / crossdock_queue_depth'
    assert promql.problems(query, known) == ["crossdock_queue_depth", "crossdock_queue_messages{x}", "by (colour)"]
    assert promql.problems("up", known) == ["it names no metric of ours"]


def test_every_panel_has_its_own_id_and_title_and_a_query() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", "crossdock.rules.yml")


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "crossdock.test.yml")


def test_every_rule_is_tested_both_ways() -> None:
    tests = yaml.safe_load((FOLDER / "crossdock.test.yml").read_text())["tests"]
    cases = [(alert["alertname"], bool(alert["exp_alerts"])) for test in tests for alert in test["alert_rule_test"]]
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


def test_the_page_of_the_console_that_an_alert_names_exists_and_knows_its_filter() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", runbook, re.MULTILINE | re.DOTALL))
    pages = {route.path for route in ROUTES if route.method == "GET"}
    named = {rule["alert"]: rule["annotations"].get("console") for rule in RULES}
    assert named["CrossdockDeliveriesFailed"] == "/console/deliveries?status=failed"
    for alert, address in named.items():
        assert re.findall(r"In the console: `([^`]+)`", sections[alert]) == ([address] if address else []), alert
        path, _, query = (address or "/console").partition("?")
        assert path in pages
        if query:
            template = (ROOT / f"ingress/console/templates/{path.rpartition('/')[2]}.html").read_text()
            assert query.partition("=")[0] in template


def test_the_runbook_names_commands_and_metrics_that_exist(known: dict[str, set[str]]) -> None:
    text = (ROOT / "docs/runbook.md").read_text()
    existing = known.keys() | {name.removesuffix("_bucket") for name in known}
    mentioned = {metric for metric, _ in promql.selectors(text)} - set(roles.ALL)
    assert mentioned <= {*existing, *(n.removesuffix("_total") for n in known)}
    names = {command.name for command in commands.registered_commands}
    names |= {group.name for group in commands.registered_groups}
    assert set(re.findall(r"`crossdock\s+([a-z]+)", text)) <= names
