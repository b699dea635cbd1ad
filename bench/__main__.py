"""`make bench`: measures our processes and the usual alternatives in turn, in one run, on separate servers."""

import argparse
import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console

from bench import load, plan, plot, report
from bench.common import BenchmarkError, purge, start_servers
from bench.parts import PARTS, Part, chosen
from bench.report import Report
from bench.row import Row

README = Path(__file__).parents[1] / "README.md"
PAGE = README.parent / "docs/performance.md"
MARKER = "bench"


async def measure(parts: list[Part], how: plan.Plan, console: Console) -> tuple[list[Row], list[Row]]:
    """Run the parts one after the other; return all rows, and among them those of parts that failed.

    A part that fails becomes a row with the reason, and the others are measured all the same.
    """
    rows: list[Row] = []
    broken: list[Row] = []
    async with start_servers() as servers:
        for part in parts:
            started = time.monotonic()
            try:
                async with asyncio.timeout(part.limit):
                    results = await part.run(servers, how)
            except BenchmarkError as why:
                broken += (results := [Row(part.name, "", [], [], failed=str(why))])
            except Exception as error:
                logging.exception("%s failed", part.name)
                broken += (results := [Row(part.name, "", [], [], failed=f"{type(error).__name__}: {error}"[:200])])
            await purge(servers.amqp)  # so that a part that failed leaves nothing for the next one
            console.print(f"{part.name}: {time.monotonic() - started:.0f} s")
            rows += results
    return rows, broken


def write(result: Report, console: Console) -> None:
    """Write bench/results, and the pages with the table if everything that they show was measured in full."""
    folder = report.RESULTS
    folder.mkdir(exist_ok=True)
    text = report.markdown(result.rows)
    (folder / "latest.md").write_text(f"{result.summary}\n\n{text}")
    (folder / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    plot.plot(result.rows, folder, "latest")
    if not result.quick and {part.name for part in chosen([], long=False)} <= set(result.parts):
        report.include(PAGE, MARKER, f"{result.summary}\n\n{text}")
        report.include(README, MARKER, report.headlines(result.rows))
        console.print(f"written: {folder}/latest.*, and the tables of README.md and docs/performance.md")
    else:
        console.print(f"written: {folder}/latest.*; README.md keeps the table of its last whole run")


def main() -> int:
    """Run the benchmarks; return 0 if measured (even if goals are missed or peers fail), 1 if a part of ours failed.

    Wrong usage exits with 2.
    """
    descriptions = "\n".join(f"  {part.name:<11} {part.description}{_WHEN[part.when]}" for part in PARTS)
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"parts:\n{descriptions}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="run only these parts")
    parser.add_argument("--quick", action="store_true", help="one short pair each: one to two minutes, no spread")
    parser.add_argument("--long", action="store_true", help="also run the parts that take many minutes")
    arguments = parser.parse_args()
    try:
        parts = chosen(arguments.parts, long=arguments.long)
    except ValueError as wrong:
        parser.error(str(wrong))
    console = Console(width=180 if not sys.stdout.isatty() else None, highlight=False)
    console.print(f"load by {load.generator()}; {os.cpu_count()} cores")
    started = time.monotonic()
    rows, broken = asyncio.run(measure(parts, plan.QUICK if arguments.quick else plan.FULL, console))
    result = Report(
        rows=rows,
        parts=[part.name for part in parts],
        left_out=[part.name for part in PARTS if part.when == "long" and part not in parts],
        quick=arguments.quick,
        cores=os.cpu_count() or 1,
        generator=load.generator(),
        generator_cpu=load.busiest,
        seconds=time.monotonic() - started,
    )
    if rows:
        report.show(console, rows)
        console.print(result.summary)
        write(result, console)
    return int(bool(broken))


_WHEN = {"always": "", "long": " (with --long, or by name)", "asked": " (by name only)"}

if __name__ == "__main__":
    sys.exit(main())
