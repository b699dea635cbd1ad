"""`make bench`: our processes beside what people would pick instead, in turn, in one run, on servers of their own.

python -m bench [--quick] [ingress] [store] [events] [answers] [deliveries]
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from bench import answers as waiting
from bench import deliveries as outbound
from bench import load
from bench.common import PEERS, Row, Servers, answers, process, purge, servers
from bench.storing import bench_events, bench_store
from deploy import config as configuration
from deploy.local.children import free_ports
from schemas import registry

RESULTS = Path(__file__).parent / "results"
PARTS = ("ingress", "store", "events", "answers", "deliveries")


async def bench_ingress(found: Servers, *, runs: int, seconds: int, connections: int) -> list[Row]:
    """Requests accepted a second: verified, confirmed on the quorum queue; beside a handler that does nothing."""
    platform = registry.platforms()["channelape"]
    account = platform.demo[0]
    raw = msgspec.json.format(registry.example("channelape", "receipt_confirmation"), indent=-1)  # as machines send it
    signed = platform.sign(raw, configuration.parse({}, found.folder).accounts["channelape"][account])
    query = "&".join(f"{name}={value}" for name, value in signed.query.items())
    port, admin, bare = free_ports(3)
    path = f"/hooks/channelape/{account}/receipt-confirmations?{query}"
    headers = {"Content-Type": "application/json", **signed.headers}
    ours: list[float] = []
    theirs: list[float] = []
    ingress = ("-m", "deploy.cli.main", "ingress", "--port", str(port), "--admin-port", str(admin))
    async with process(found, *ingress), process(found, str(PEERS / "bare_aiohttp.py"), str(bare)):
        await answers(f"http://127.0.0.1:{admin}/readyz", 200)
        await answers(f"http://127.0.0.1:{bare}/", 405)
        for target, rates in [(port, ours), (bare, theirs)] * runs:
            url = f"http://127.0.0.1:{target}{path}"
            result = await asyncio.to_thread(load.run, url, headers, raw, connections=connections, seconds=seconds)
            if result.failed:
                raise RuntimeError(f"{result.failed} requests to {url.split('?')[0]} failed")
            rates.append(result.per_second)
            await purge(found.amqp)
    size = f"{len(raw) / 1000:.1f} kB"
    return [Row(f"ingress accepted/s, {size}, {connections} connections", "bare aiohttp handler", ours, theirs, 0.5)]


def report(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| what | against | ours | theirs | ratio | goal |", "|---|---|---|---|---|---|"]
    for row in rows:
        form = ".2f" if row.less else ".0f"
        ours, theirs = (
            f"{statistics.median(one):,{form}} ({min(one):,{form}}–{max(one):,{form}})"
            for one in (row.ours, row.theirs)
        )
        goal = "" if row.goal is None else f"{'≤' if row.less else '≥'} {row.goal}"
        lines.append(f"| {row.what} | {row.against} | {ours} | {theirs} | {row.ratio:.2f} | {goal} |")
    return "\n".join(lines) + "\n"


def show(console: Console, rows: list[Row]) -> None:
    table = Table(title="medians (lowest–highest)", title_justify="left", box=None, pad_edge=False)
    for name in ("what", "against", "ours", "theirs", "ratio", "goal"):
        table.add_column(name)
    for line in report(rows).splitlines()[2:]:
        table.add_row(*(cell.strip() for cell in line.strip("|").split("|")))
    console.print(table)


async def bench_answers(found: Servers, *, runs: int, count: int) -> list[Row]:
    """uStore's answers in milliseconds, for one shopper and for several at a time."""
    rows = []
    for at_once in (waiting.ALONE, waiting.TOGETHER):
        results = [
            await waiting.measure(found.env, found.amqp, found.folder, count=count, at_once=at_once)
            for _ in range(runs)
        ]
        what, against = f"uStore answer, {at_once} at a time", "bare HTTP + bare direct reply"
        for name, goal in (("p50", 2.5), ("p99", None)):
            ours = [getattr(one.ours, name) for one in results]
            theirs = [getattr(one.http, name) + getattr(one.reply, name) for one in results]
            rows.append(Row(f"{what}, {name} ms", against, ours, theirs, goal, less=True))
    return rows


async def bench_deliveries(found: Servers, *, runs: int, count: int) -> list[Row]:
    """Webhooks out a second."""
    database = await asyncpg.connect(found.database)
    ours, theirs = await outbound.measure(database, found.env, found.folder, runs=runs, count=count)
    await database.close()
    return [Row("deliveries/s, one worker, from a backlog", "bare aiohttp client", ours, theirs, 0.5)]


async def main(parts: list[str], *, quick: bool) -> list[Row]:
    """The parts asked for, or all."""
    runs = 3
    plans: dict[str, Callable[[Servers], Awaitable[list[Row]]]] = {
        "ingress": lambda found: bench_ingress(found, runs=runs, seconds=3 if quick else 10, connections=64),
        "store": lambda found: bench_store(found, runs=runs, messages=8_000 if quick else 20_000),
        "events": lambda found: bench_events(found, runs=runs, messages=8_000 if quick else 20_000),
        "answers": lambda found: bench_answers(found, runs=runs, count=400 if quick else 2_000),
        "deliveries": lambda found: bench_deliveries(found, runs=runs, count=6_000 if quick else 20_000),
    }
    async with servers() as found:
        return [row for name in parts or list(plans) for row in await plans[name](found)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="ingress, store, events, answers, deliveries; default all"
    )
    parser.add_argument("--quick", action="store_true", help="about a minute")
    arguments = parser.parse_args()
    console = Console(width=150 if not sys.stdout.isatty() else None, highlight=False)
    console.print(f"load by {load.generator()}; {os.cpu_count()} cores")
    found_rows = asyncio.run(main(arguments.parts, quick=arguments.quick))
    show(console, found_rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(report(found_rows))
    (RESULTS / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(found_rows)))
