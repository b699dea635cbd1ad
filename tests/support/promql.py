"""Reads the metrics and labels that PromQL queries name, and those that exist."""

import importlib
import re

import aiohttp
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from deploy.admin import Admin
from telemetry.tallies import LabelledCounter, LabelledHistogram

PROCESSES = ("ingress.hooks.app", "ingress.api.app", "ingress.console.app", "deploy.process", *(
    f"workers.{kind}.worker" for kind in ("store", "route", "deliver", "poll")
))  # fmt: skip


async def exposed() -> dict[str, set[str]]:
    """Return the labels of every metric that /metrics of any process shows, by its name in queries."""
    for name in PROCESSES:
        importlib.import_module(name)
    admin = Admin("127.0.0.1", 0, list)
    await admin.start()
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{admin.url}/metrics") as answer:
            text = await answer.text()
    finally:
        await admin.stop()
    labels = {
        collector._name: set(collector._labelnames)
        for collector in REGISTRY._collector_to_names
        if isinstance(collector, MetricWrapperBase)
    } | {
        collector.name: set(collector.label_names)
        for collector in REGISTRY._collector_to_names
        if isinstance(collector, (LabelledCounter, LabelledHistogram))
    }
    labels_of: dict[str, set[str]] = {}
    for name, kind in re.findall(r"^# TYPE (crossdock_\w+) (\w+)$", text, re.MULTILINE):
        if name.endswith("_created"):
            continue
        has = labels[name.removesuffix("_total")]
        if kind == "histogram":
            labels_of |= {f"{name}_bucket": has | {"le"}, f"{name}_sum": has, f"{name}_count": has}
        else:
            labels_of[name] = has
    return labels_of


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """Return every metric of ours in a query, with the labels in its selector."""
    metrics = re.findall(r"(crossdock_\w+)(?:\{([^}]*)\})?", re.sub(r'"(?:\\.|[^"])*"', '""', query))
    return [(name, set(re.findall(r"(\w+)(?=[!=]~?|=)", chosen))) for name, chosen in metrics]


def grouped(query: str) -> set[str]:
    """Return the labels by which the query groups."""
    return {label for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.replace(" ", "").split(",")}


def problems(query: str, known: dict[str, set[str]]) -> list[str]:
    """Return the metrics and labels that the query names, but that do not exist."""
    named = selectors(query)
    if not named:
        return ["it names no metric of ours"]
    unknown = [metric for metric, _ in named if metric not in known]
    unknown += [f"{metric}{{{label}}}" for metric, labels in named for label in labels - known.get(metric, labels)]
    every = set[str]().union(*(known.get(metric, set()) for metric, _ in named))
    return unknown + [f"by ({label})" for label in grouped(query) - every]
