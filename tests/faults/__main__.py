"""`make faults`: every fault under load, and a table of what was lost. `soak`: random faults for a chosen time."""

import argparse
import asyncio
import logging
import random
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.faults import report
from tests.faults.soak import soak
from tests.faults.suite import Result, everything

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).with_name("README.md")
WIDTH = 190
"""Columns of the table if the output is not a terminal."""


def main() -> int:
    """Return the exit code: 0 if nothing was lost, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default="", help="run only faults whose name contains this; write no file")
    parser.add_argument("--patience", type=float, help="seconds in which everything must recover after each fault")
    commands = parser.add_subparsers(dest="command")
    soaking = commands.add_parser("soak", help="inject a random fault at regular intervals")
    soaking.add_argument("--minutes", type=float, default=30.0)
    soaking.add_argument("--every", type=float, default=20.0, help="seconds between two faults")
    soaking.add_argument("--rate", type=float, default=20.0, help="posts per second")
    arguments = parser.parse_args()
    for name in ("aiormq", "aiormq.connection", "asyncio", "crossdock"):  # lost connections are expected here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a mounted disk is unmounted
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    console.print(f"seed {arguments.seed}")
    if arguments.command == "soak":
        return _soak(console, arguments)
    return _all(console, arguments)


def _all(console: Console, arguments: argparse.Namespace) -> int:
    def show(result: Result) -> None:
        recovery = "" if result.row.recovery is None else f", recovered after {result.row.recovery:.1f} s"
        text = result.row.error or result.row.skipped or f"{result.row.verdict}{recovery}"
        if result.row.unmet is not None:
            text += f"; {result.row.unmet}"
        console.print(f"{datetime.now(UTC):%H:%M:%S} {'ok  ' if result.passed else 'FAIL'} {result.row.fault}: {text}")

    run = asyncio.run(everything(arguments.only, arguments.seed, show, arguments.patience))
    console.print(report.table(run))
    if not arguments.only:
        report.write(ROOT / "README.md", "faults", report.total(run))
        report.write(OWN, "summary", report.summary(run))
        report.write(OWN, "faults", report.whole(run))
    return 0 if run and all(result.passed for result in run) else 1


def _soak(console: Console, arguments: argparse.Namespace) -> int:
    soaked = asyncio.run(soak(arguments.minutes, arguments.every, arguments.seed, arguments.rate))
    console.print(str(soaked))
    report.write(OWN, "soak", str(soaked))
    return 0 if soaked.verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
