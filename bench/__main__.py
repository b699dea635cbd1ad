"""`make bench`: our processes beside what people would pick instead, in turn, in one run, on servers of their own."""

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
from bench.common import BenchmarkError, purge, servers
from bench.parts import PARTS, Part, chosen
from bench.report import Report
from bench.row import Row

README = Path(__file__).parents[1] / "README.md"
MARKER = "bench"


async def measure(parts: list[Part], how: plan.Plan, console: Console) -> tuple[list[Row], list[Row]]:
    """The parts, one after the other. One that fails is a row that says so: the others are measured all the same.

    All rows, and among them those of parts that failed.
    """
    rows: list[Row] = []
    broken: list[Row] = []
    async with servers() as found:
        for part in parts:
            started = time.monotonic()
            try:
                async with asyncio.timeout(part.limit):
                    made = await part.run(found, how)
            except BenchmarkError as why:
                broken += (made := [Row(part.name, "", [], [], failed=str(why))])
            except Exception as error:
                logging.exception("%s failed", part.name)
                broken += (made := [Row(part.name, "", [], [], failed=f"{type(error).__name__}: {error}"[:200])])
            await purge(found.amqp)  # a part that failed leaves the next one nothing
            console.print(f"{part.name}: {time.monotonic() - started:.0f} s")
            rows += made
    return rows, broken


def write(found: Report, console: Console) -> None:
    """bench/results; and the README, when everything that it shows was measured in full."""
    folder = report.RESULTS
    folder.mkdir(exist_ok=True)
    text = report.markdown(found.rows)
    (folder / "latest.md").write_text(f"{found.summary}\n\n{text}")
    (folder / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    plot.plot(found.rows, folder, "latest")
    if not found.quick and {part.name for part in chosen([], long=False)} <= set(found.parts):
        report.include(README, MARKER, f"{found.summary}\n\n{text}")
        console.print(f"written: {folder}/latest.*, and the table of README.md")
    else:
        console.print(f"written: {folder}/latest.*; README.md keeps the table of its last whole run")


def main() -> int:
    """0: measured, whether goals are met or not, and peers run or not; 1: a part of ours failed; 2: wrong usage."""
    about = "\n".join(f"  {part.name:<11} {part.about}{_WHEN[part.when]}" for part in PARTS)
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"parts:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="run these alone")
    parser.add_argument("--quick", action="store_true", help="one short pair each: one to two minutes, no spread")
    parser.add_argument("--long", action="store_true", help="also what takes many minutes")
    arguments = parser.parse_args()
    try:
        parts = chosen(arguments.parts, long=arguments.long)
    except ValueError as wrong:
        parser.error(str(wrong))
    console = Console(width=180 if not sys.stdout.isatty() else None, highlight=False)
    console.print(f"load by {load.generator()}; {os.cpu_count()} cores")
    started = time.monotonic()
    rows, broken = asyncio.run(measure(parts, plan.QUICK if arguments.quick else plan.FULL, console))
    found = Report(
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
        console.print(found.summary)
        write(found, console)
    return int(bool(broken))


_WHEN = {"always": "", "long": " (with --long, or by name)", "asked": " (by name only)"}

if __name__ == "__main__":
    sys.exit(main())
