"""`python -m tests.attacks [--inputs N]`: N inputs for all readers and for running processes.

Exit code 1 on a fault, with the input that caused it. It starts its own servers.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker import topology
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from storage import migrate
from tests.attacks import parsers, suite

INPUTS = 1_000_000
DOORS = 0.2
"""Share of the inputs that go through a socket, which takes ten times as long."""
SLOW = {"configuration": 0.1, "ustore: bodies": 0.4, "ecomnow: bodies": 0.4}
"""Readers that get fewer inputs, and their share, because an input takes them a millisecond."""
TIMEOUT = 1200.0
"""Maximum seconds for one reader."""


@asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Start RabbitMQ and PostgreSQL, and yield their URLs."""
    database, broker = Postgres(folder / "postgres"), RabbitMQ(folder / "rabbitmq")
    await database.start()
    try:
        await migrate.migrate(database.url)
        await broker.start()
        try:
            await topology.apply(broker.url)
            yield broker.url, database.url
        finally:
            await broker.stop()
    finally:
        await database.stop()


async def run(inputs: int, folder: Path) -> None:
    """Run all attacks. Raises AssertionError on a fault."""
    targets = list(parsers.targets())
    shares = [SLOW.get(target.name, 1.0) for target in targets]
    each = inputs * (1 - DOORS) / sum(shares)
    if not suite.guided():
        say("atheris has no wheel for this Python: readers are attacked by mutation alone")
    for target, share in zip(targets, shares, strict=True):
        count = max(1, round(each * share))
        guided = count // 2 if suite.guided() else 0
        tell(await asyncio.to_thread(suite.parse, target, count - guided))
        if guided:
            tell(await asyncio.to_thread(suite.parse_guided, target, guided, TIMEOUT))
    async with servers(folder) as (amqp_url, database_url):
        tell(await suite.attack_ingress(folder, amqp_url, round(inputs * DOORS * 0.6)))
        tell(await suite.attack_api(folder, database_url, round(inputs * DOORS * 0.4)))


def tell(done: suite.Done) -> None:
    say(f"{done.what:28} {done.inputs:>9,} inputs {done.seconds:7.1f} s  {done.note}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="%(default)s unless told")
    inputs = parser.parse_args().inputs
    with tempfile.TemporaryDirectory(prefix="crossdock-attacks-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL and RabbitMQ may run as other users
        try:
            asyncio.run(run(inputs, Path(folder)))
        except AssertionError as fault:
            say(f"FAULT {fault}")
            return 1
    say(f"{inputs:,} inputs: no 5xx, no crash, no hang, memory flat")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
