"""Siblings of reported commands: what they write into RabbitMQ's log, a database without writes, and large numbers."""

from pathlib import Path

import asyncpg
import pytest

from broker import management
from deploy.cli import main
from deploy.local.rabbitmq import RabbitMQ
from schemas.config import parse_size
from storage.database import explain
from tests.support.shell import Shell


def errors(rabbitmq: RabbitMQ, amqp_url: str) -> list[str]:
    vhost = management.vhost_of(amqp_url)
    log = "".join(file.read_text(errors="replace") for file in rabbitmq.logs.glob("*.log"))
    return [line for line in log.splitlines() if vhost in line and "[error]" in line]


async def test_no_command_writes_errors_into_the_brokers_log(
    shell: Shell, amqp_url: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Every `crossdock status` left "not_found: no queue 'crossdock.store.1'" there."""
    for command in (
        ("topology", "apply"),
        ("topology", "check"),
        ("check",),
        ("consumers", "add", "x"),
        ("consumers", "list"),
        ("status",),
        ("quarantine", "list"),
        ("consumers", "retry", "x"),
        ("consumers", "remove", "x"),
    ):
        result = await shell(*command)
        assert result.code == 0, result.err
        assert errors(rabbitmq, amqp_url) == [], command
    (tmp_path / "crossdock.toml").write_text("[store]\nshards = 3\n")
    assert (await shell("topology", "apply")).code == 0
    queues = (await shell("status", "--json")).json["queues"]
    assert {"crossdock.store", "crossdock.store.1", "crossdock.store.2"} <= {queue["name"] for queue in queues}
    assert errors(rabbitmq, amqp_url) == []


async def test_a_database_without_writes_is_one_line(shell: Shell, database_url: str) -> None:
    """After ALTER DATABASE … SET default_transaction_read_only = on, `migrate` ended with a traceback."""
    connection = await asyncpg.connect(database_url)
    try:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    finally:
        await connection.close()
    for command in (("migrate",), ("consumers", "add", "x"), ("check",)):
        result = await shell(*command)
        assert result.code == 1
        text = result.out if command == ("check",) else result.err
        assert "takes no writes" in " ".join(text.split()), (command, result)
        assert command == ("check",) or len(result.err.splitlines()) == 1
    assert (await shell("deliveries", "list")).code == 0
    assert (await shell("quarantine", "list")).code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("consumers", "add", "x", "--max-messages"),
        ("consumers", "add", "x", "--max-size"),
        ("deliveries", "list", "--limit"),
        ("quarantine", "list", "--limit"),
        ("worker", "store", "--shard"),
        ("send", "ustore", "manufacturer_allocation", "--count"),
        ("topology", "export", "--rabbitmq"),
        ("consume", "--count"),
        ("consume", "--from"),
    ],
)
@pytest.mark.parametrize("number", [2**63, 10**20, int("9" * 4000)])
def test_numbers_that_are_too_large_are_refused(
    command: tuple[str, ...], number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """`consumers add --max-messages 99999999999999999999` ended with a TypeError."""
    assert main.main([*command, str(number)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", [("deliveries", "list"), ("quarantine", "list")])
async def test_the_largest_number_is_taken(shell: Shell, command: tuple[str, ...]) -> None:
    """Whatever is accepted also fits into the statement."""
    assert (await shell(*command, "--limit", str(2**63 - 1))).code == 0


@pytest.mark.parametrize("size", [2**63, f"{2**63}", "9000000000000 GB", "9" * 5000])
def test_sizes_that_are_too_large_are_refused(size: str | int) -> None:
    """The same holds for sizes of the configuration."""
    with pytest.raises(ValueError, match=r"too large|not a size"):
        parse_size(size)
    assert parse_size(str(2**63 - 1)) == 2**63 - 1


def test_a_worker_reports_that_the_database_is_read_only() -> None:
    """`/readyz` and the log of a worker say the same as a command."""
    for error in (asyncpg.TargetServerAttributeNotMatched("None"), asyncpg.ReadOnlySQLTransactionError("cannot")):
        assert "takes no writes" in explain(error)
