"""Every part of the benchmarks by name, in the order in which `make bench` runs them."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from bench.answers import bench_answers
from bench.common import Servers
from bench.console import bench_console
from bench.deliveries import bench_deliveries
from bench.filtering import bench_filters
from bench.ingress import bench_ingress
from bench.latency import bench_latency
from bench.plan import Plan
from bench.previous import bench_previous
from bench.profile import bench_profile
from bench.publishing import bench_publish
from bench.questions import bench_questions
from bench.row import Row
from bench.scaling import bench_scale
from bench.storing import bench_events, bench_store
from bench.system import bench_idle, bench_memory
from bench.upgrade import bench_upgrade
from bench.volume import bench_backlog, bench_stored


class Part(msgspec.Struct, frozen=True):
    """A part of the benchmarks."""

    name: str
    description: str
    run: Callable[[Servers, Plan], Awaitable[list[Row]]]
    when: Literal["always", "long", "asked"] = "always"
    """long: takes many minutes, so it runs with `--long` or by name; asked: runs by name only."""

    @property
    def limit(self) -> float:
        """Seconds after which it is aborted."""
        return 600.0 if self.when == "always" else 3600.0


PARTS = (
    Part("ingress", "requests accepted, beside bare aiohttp, aio-pika, FastStream and Celery", bench_ingress),
    Part("publish", "our publisher beside a raw socket", bench_publish),
    Part("store", "events stored, beside FastStream and COPY", bench_store),
    Part("events", "what announcing every event costs", bench_events),
    Part("filters", "what a thousand subscriptions with filters cost the store worker", bench_filters),
    Part("latency", "arrival to commit at a third of capacity", bench_latency),
    Part("answers", "uStore's answers", bench_answers),
    Part("deliveries", "webhooks out, beside a bare client", bench_deliveries),
    Part("idle", "CPU of an idle `crossdock up`", bench_idle),
    Part("backlog", "the store with 300,000 messages waiting beside 10,000", bench_backlog),
    Part("stored", "the store with 2,000,000 events stored beside none", bench_stored, "long"),
    Part("previous", "storing, and bytes on disk, beside commit 9a0120f", bench_previous, "long"),
    Part("questions", "the questions of docs/questions.md with 2,000,000 events stored", bench_questions, "long"),
    Part("console", "the console's pages with 2,000,000 events stored", bench_console, "long"),
    Part("upgrade", "the upgrade of 2,000,000 events that commit 9a0120f stored, under load", bench_upgrade, "asked"),
    Part("memory", "memory after 500,000 messages beside 50,000", bench_memory, "long"),
    Part("scale", "several ingress processes, store workers and inbound queues beside one", bench_scale, "long"),
    Part("profile", "where the time goes, and the capacity that follows: bench/README.md", bench_profile, "asked"),
)


def chosen(names: list[str], *, long: bool) -> list[Part]:
    """Return the named parts in this order, or without names all that `make bench` runs. Raises ValueError."""
    unknown = sorted(set(names) - {part.name for part in PARTS})
    if unknown:
        raise ValueError(f"there is no part {unknown[0]!r}; there are {', '.join(part.name for part in PARTS)}")
    if names:
        return [part for part in PARTS if part.name in names]
    return [part for part in PARTS if part.when == "always" or (long and part.when == "long")]
