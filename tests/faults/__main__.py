"""`make faults`: every fault under load, and the table of what was lost. `soak`: faults at random, as long as told."""

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
from tests.faults.suite import Done, everything

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).with_name("README.md")
WIDTH = 190
"""Columns where there is no terminal to ask."""


def main() -> int:
    """0 when nothing was lost, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default="", help="faults whose name holds this; nothing is written then")
    parser.add_argument("--patience", type=float, help="seconds in which all must have come right, for each fault")
    commands = parser.add_subparsers(dest="command")
    soaking = commands.add_parser("soak", help="a random fault every so often")
    soaking.add_argument("--minutes", type=float, default=30.0)
    soaking.add_argument("--every", type=float, default=20.0, help="seconds")
    soaking.add_argument("--rate", type=float, default=20.0, help="posts a second")
    arguments = parser.parse_args()
    for name in ("aiormq", "aiormq.connection", "asyncio", "crossdock"):  # lost connections are what this is about
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a disk that is mounted is unmounted also then
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    console.print(f"seed {arguments.seed}")
    if arguments.command == "soak":
        return _soak(console, arguments)
    return _all(console, arguments)


def _all(console: Console, arguments: argparse.Namespace) -> int:
    def say(done: Done) -> None:
        recovery = "" if done.row.recovery is None else f", recovered after {done.row.recovery:.1f} s"
        text = done.row.error or done.row.skipped or f"{done.row.verdict}{recovery}"
        if done.row.unmet is not None:
            text += f"; {done.row.unmet}"
        console.print(f"{datetime.now(UTC):%H:%M:%S} {'ok  ' if done.passed else 'FAIL'} {done.row.fault}: {text}")

    run = asyncio.run(everything(arguments.only, arguments.seed, say, arguments.patience))
    console.print(report.table(run))
    if not arguments.only:
        report.write(ROOT / "README.md", "faults", report.total(run))
        report.write(OWN, "summary", report.summary(run))
        report.write(OWN, "faults", report.whole(run))
    return 0 if run and all(done.passed for done in run) else 1


def _soak(console: Console, arguments: argparse.Namespace) -> int:
    soaked = asyncio.run(soak(arguments.minutes, arguments.every, arguments.seed, arguments.rate))
    console.print(str(soaked))
    report.write(OWN, "soak", str(soaked))
    return 0 if soaked.verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
