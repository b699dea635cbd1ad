"""Siblings of reported commands: empty filters, the ends of the calendar, closed streams, and what an error names."""

import asyncio
import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import asyncpg
import pytest
import typer
from aio_pika import Message
from aiormq.exceptions import AMQPError
from pamqp import encode

from broker.connection import BrokerConnection, connect
from broker.eventlog import EPOCH, EventLog
from deploy import config as configuration
from deploy.cli import errors, log_events, main
from deploy.cli.errors import CommandError
from deploy.cli.options import parse_time
from deploy.config import ConfigError
from deploy.local import rabbitmq
from schemas.topology import EVENTS_LOG
from tests.support.api import OPERATOR, api
from tests.support.shell import ROOT, Shell

EARLIEST, LATEST = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"
LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")
"""What Python makes of an argument that is not UTF-8."""
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(autouse=True)
def _no_server_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused as wrong usage is refused before anything is connected to."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("AMQP_URL", "amqp://127.0.0.1:1/")


def run_in_shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does, with the redirections that `line` ends with."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": os.environ["DATABASE_URL"], **env}
    command = line if line.startswith(sys.executable) else f"{sys.executable} -m deploy.cli.main {line}"
    return subprocess.run(["sh", "-c", command], cwd=folder, env=variables, capture_output=True, text=True, timeout=40)


def commands() -> Iterator[tuple[list[str], Any]]:
    """Yield every command by what is typed."""

    def walk(command: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
        if not hasattr(command, "commands"):
            yield path, command
            return
        for name, child in command.commands.items():
            yield from walk(child, [*path, name])

    return walk(typer.main.get_command(main.app), [])


def with_text(text: str) -> list[list[str]]:
    """Return a command line for each option and argument, with `text` as its value."""

    def written(param: Any, value: str) -> list[str]:
        return [value] if param.param_type_name == "argument" else [max(param.opts, key=len), value]

    lines = []
    for path, command in commands():
        for param in command.params:
            if not getattr(param, "is_flag", False):
                required = [word for other in command.params if other.required for word in written(other, "x")]
                lines.append([*path, *(required if not param.required else []), *written(param, text)])
                if param.required:
                    others = [other for other in command.params if other.required]
                    lines[-1] = [*path, *(word for o in others for word in written(o, text if o is param else "x"))]
    return lines


@pytest.mark.parametrize("line", with_text(""), ids=" ".join)
def test_nothing_is_empty(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """`quarantine discard --reason ""`, as from a variable that is not set, discarded the whole quarantine."""
    assert main.main(line) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("crossdock: Invalid value for ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        ("quarantine", "discard", "--reason", " \t"),
        ("quarantine", "replay", "--account", " "),
        ("quarantine", "discard", "--account", "/"),
        ("quarantine", "discard", "--account", "channelape/"),
        ("quarantine", "replay", "--account", "/rothys"),
        ("quarantine", "list", "--account", "channelape/ "),
        ("quarantine", "discard", "--reason="),
        ("consume", "--account", "/"),
        ("consume", "--type", " "),
        ("consumers", "add", "x", "--types", "channelape.*,"),
        ("consumers", "add", "x", "--accounts", "channelape/rothys,"),
        ("consumers", "add", "x", "--accounts", "/"),
        ("topology", "export", "--vhost", " "),
        ("find", "  "),
        ("trace", "\u00a0"),
    ],
)
def test_what_is_blank_is_empty_too(line: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    """`--account "$PLATFORM/$ACCOUNT"` is a slash if neither is set, and chose everything."""
    assert main.main(line) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [line for line in with_text(LATIN) if line[-2] not in ("--config", "--state", "--file") and "explain" not in line],
    ids=" ".join,
)
def test_what_is_not_utf_8_is_wrong_usage(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    r"""`quarantine list --reason $'\xe9'` ended with "invalid input for query argument $4", from the driver."""
    assert main.main(line) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "is not UTF-8" in err


def test_paths_may_have_any_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    """A file's name need not be UTF-8."""
    for line in (
        ["topology", "export", "--config", LATIN],
        ["send", "ustore", "manufacturer_allocation", "--file", LATIN],
    ):
        assert main.main(line) == 1
        assert "No such file" in capfd.readouterr().err


@pytest.mark.parametrize("time", [EARLIEST, LATEST])
@pytest.mark.parametrize(
    "line",
    [
        ("replay", "--subscription", SUBSCRIPTION, "--dry-run", "--from"),
        ("replay", "--subscription", SUBSCRIPTION, "--dry-run", "--from", "2026-01-01", "--to"),
        ("erase", "--platform", "channelape", "--account", "rothys", "--dry-run", "--before"),
        ("consume", "--from"),
    ],
)
def test_times_beyond_the_calendar_are_wrong_usage(
    line: tuple[str, ...], time: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """They reached the driver: "PostgreSQL reports: invalid input for query argument $4"."""
    assert main.main([*line, time]) == 2
    assert "must lie in the years 1 to 9999 (UTC)" in capfd.readouterr().err


@pytest.mark.parametrize("time", ["1900-01-01", "1969-12-31", "0001-01-01"])
def test_times_before_1970_mean_the_beginning_of_the_log(time: str) -> None:
    """`consume --from 1900-01-01` waited for RabbitMQ for ever, with "int too large to convert"."""
    place = parse_time(time, "--from")
    assert EventLog("amqp://h/", place).arguments() == {"x-stream-offset": "first"}
    encode.field_table(EventLog("amqp://h/", place).arguments())
    assert EventLog("amqp://h/", EPOCH).arguments() == {"x-stream-offset": EPOCH}


async def test_an_error_of_our_own_is_not_the_brokers(caplog: pytest.LogCaptureFixture) -> None:
    """It was retried for ever as if RabbitMQ were unavailable, and nothing showed where it came from."""
    connection = BrokerConnection("amqp://h/", name="test", on_open=AsyncMock())
    for error in (ConnectionRefusedError(), AMQPError("no"), TimeoutError()):
        connection.note(error)
        assert connection.defect is None
    with caplog.at_level(logging.ERROR, "crossdock.broker"):
        connection.note(OverflowError("int too large to convert"))
        connection.note(OverflowError("int too large to convert"))
    assert isinstance(connection.defect, OverflowError)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_virtual_host_that_amqp_cannot_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A worker retried the driver's "Max length exceeded for virtual_host" for ever; commands showed a traceback."""
    monkeypatch.setenv("AMQP_URL", f"amqp://h/{'v' * 256}")
    for line in (["worker", "route"], ["topology", "check"], ["consume"]):
        assert main.main(line) == 1
        assert "AMQP_URL can't be read" in capfd.readouterr().err


async def test_an_error_of_our_own_ends_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """`consume --follow` ends with it instead of waiting; without --follow, waiting has an end, too."""
    monkeypatch.setattr(log_events, "PATIENCE", 0.05)
    log = Mock(defect=OverflowError("int too large"), problem="OverflowError: int too large")
    with pytest.raises(OverflowError):
        await log_events.report_problems(log)
    log.opened = asyncio.Event().wait
    with pytest.raises(CommandError, match="does not return its log: OverflowError"):
        await log_events.opened(log)


CLOSED = [
    ("find A_1 >&-", 1),
    ("find A_1 2>&-", 1),
    ("asyncapi >&-", 0),
    ("topology export >&- <&- 2>&-", 0),
    ("send channelape stock_transfer_order --url http://127.0.0.1:1 >&- <&-", 1),
]


@pytest.mark.parametrize(("line", "code"), CLOSED, ids=[line for line, _ in CLOSED])
def test_a_closed_stream_is_the_null_device(line: str, code: int, tmp_path: Path) -> None:
    """`find A_1 >&-` ended with an AttributeError, and `send … >&-` was aborted by libuv."""
    done = run_in_shell(line, tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (code if "2>" not in line and "send" not in line else 0)


def test_nothing_is_confirmed_from_a_closed_stream(tmp_path: Path) -> None:
    """`erase … <&-` without --yes ended with "RuntimeError: input(): lost sys.stdin"."""
    script = "from deploy.cli import main, options; main.main(['--version']); options.confirm('7', 'discarded')"
    done = run_in_shell(f'{sys.executable} -c "{script}" <&-', tmp_path)
    assert "CommandError: nothing was discarded: answer y, or give --yes" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("line", ["asyncapi", "--help", "roles"])
def test_output_that_can_not_be_written_is_a_line(line: str, tmp_path: Path) -> None:
    """ "No space left on device: check that what it needs is running" misled."""
    done = run_in_shell(f"{line} >/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "crossdock: can't write: No space left on device\n")


def test_this_machines_own_limits_are_no_servers() -> None:
    assert errors.explain(OSError(errno.EMFILE, "")) == "Too many open files"
    assert "check that what it needs is running" in str(errors.explain(ConnectionRefusedError(errno.ECONNREFUSED, "")))


@pytest.mark.parametrize("command", ["find", "trace", "quarantine show", "quarantine discard", "consumers remove"])
def test_a_text_with_a_hyphen_has_a_hint(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """`find -123` said "No such option: -1" and no more."""
    assert main.main([*command.split(), "-123"]) == 2
    assert "No such option: -1 (a text that begins with a hyphen comes after --; `cross" in capfd.readouterr().err
    assert main.main(["deliveries", "list", "-123"]) == 2
    assert "hyphen" not in capfd.readouterr().err


def test_a_locale_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    """`find NHCÉ` said that nothing can have this text, in a locale that is not UTF-8."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "set LC_ALL=C.UTF-8" in run_in_shell("find 'NHC\u00c9'", tmp_path, **plain).stderr
    assert "is not UTF-8" in run_in_shell(r"find $(printf 'NHC\351')", tmp_path, **plain).stderr


@pytest.mark.parametrize("character", ["'", '"', "`", "$", "\\", "\n", "#", "[", "{", "\udce9"])
def test_a_folder_that_rabbitmq_cannot_use_is_refused_at_once(
    character: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a folder named `it's`, `up` waited 90 s; a command in backticks in its path was run."""
    for name in ("AMQP_URL", "DATABASE_URL"):
        monkeypatch.delenv(name)
    state = tmp_path / f"it{character}s"
    assert main.main(["up", "--port", "0", "--state", str(state)]) == 1
    err = capfd.readouterr().err
    assert err.startswith("crossdock: RabbitMQ can't run in a folder ")
    assert err.endswith("; choose another with --state, or set AMQP_URL\n")
    assert not state.exists()


def test_other_folders_are_not_refused() -> None:
    """The rest of what a path may have works: one such folder is started in tests/integration/cli/test_up_again.py."""
    for character in " *%~;&|<>?()!=,:@^\t\u00e9\u6f22":
        assert rabbitmq.folder_problem(Path(f"/srv/a{character}b")) is None


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_variable_is_not_called_unset(
    value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A variable that was set to nothing "is not set", says the error, and `env` shows it."""
    monkeypatch.chdir(tmp_path)
    for name, lines in {
        "AMQP_URL": (["worker", "route"], ["topology", "check"]),
        "DATABASE_URL": (["worker", "deliver"], ["migrate"]),
        "CROSSDOCK_ENCRYPTION_KEY": (["api"],),
    }.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            for line in lines:
                assert main.main(line) == 1
                assert f"{name} is empty" in capfd.readouterr().err, line
            patch.delenv(name)
            for line in lines:
                assert main.main(line) == 1
                assert f"{name} is not set" in capfd.readouterr().err, line


@pytest.mark.parametrize("value", ["", "\n", "\r\n"])
def test_an_empty_secret_is_called_empty(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty secret file was "expected `str` of length >= 1"."""
    monkeypatch.setenv("EMPTY", value)
    (tmp_path / "empty").write_text(value)
    for written, says in (
        ({"env": "EMPTY"}, "the environment variable EMPTY is empty"),
        ({"file": "empty"}, f"{tmp_path / 'empty'} is empty"),
    ):
        account = {"accounts": {"ustore": {"shop": {"secrets": [written], "manufacturers": []}}}}
        with pytest.raises(ConfigError) as caught:
            configuration.parse(account, tmp_path)
        assert str(caught.value) == f"accounts.ustore.shop.secrets[0]: {says}"


async def test_no_filter_of_the_api_may_be_empty(database_url: str) -> None:
    """The API's filters follow the same rule as those of the commands: an empty one is 400, and selects nothing."""
    async with api(database_url) as client:
        created = await client.subscribe("https://a.example/hook")
        path = f"/v1/subscriptions/{created['id']}"
        span = {"from": "2020-01-01T00:00:00Z", "dry_run": True}
        for text in ("", " ", "\t", "\u00a0"):
            for name in ("status", "key", "cursor", "limit"):
                assert (await client.ask("GET", f"{path}/deliveries", query={name: text}))[0] == 400, (name, text)
            for name in ("cursor", "limit"):
                assert (await client.ask("GET", "/v1/subscriptions", query={name: text}))[0] == 400, (name, text)
                assert (await client.ask("GET", "/basic/webhooks", query={name: text}))[0] == 400, (name, text)
            assert (await client.ask("GET", "/v1/find", query={"q": text}, who=OPERATOR))[0] == 400, text
            replays: list[dict[str, Any]] = [{"key": text}, {"types": [text]}, {"types": []}, {"to": text}]
            for fields in replays:
                assert (await client.ask("POST", f"{path}/replay", {**span, **fields}))[0] == 400, fields
            for name, pattern in (("types", text), ("accounts", text), ("accounts", "/"), ("accounts", "channelape/")):
                assert (await client.ask("PATCH", path, {name: [pattern]}))[0] == 400, (name, pattern)


async def test_an_empty_filter_leaves_the_quarantine_alone(shell: Shell, database: asyncpg.Connection) -> None:
    """`quarantine discard --reason "$REASON"` discarded all of it; `--account "$ACCOUNT"` warned, and did the same."""
    await database.execute(
        "INSERT INTO crossdock.quarantined (id, received_at, platform, account, event, reason, raw)"
        " VALUES (gen_random_uuid(), now(), 'channelape', 'rothys', 'ship_confirmation', 'a bug', '{}')"
    )
    for command in (("discard", "--reason", ""), ("discard", "--account", "/"), ("replay", "--account", "")):
        result = await shell("quarantine", *command)
        assert (result.code, result.out) == (2, ""), command
    assert await database.fetchval("SELECT count(*) FROM crossdock.quarantine WHERE discarded_at IS NULL") == 1
    assert (await shell("quarantine", "discard", "--reason", "a bug")).out == "1 discarded\n"


async def test_the_log_is_read_from_before_1970(shell: Shell, amqp_url: str) -> None:
    """`consume --from 1900-01-01 --count 1` never ended."""
    connection = await connect(amqp_url)
    try:
        channel = await connection.channel()
        await channel.default_exchange.publish(Message(b'{"id": "1"}'), routing_key=EVENTS_LOG)
    finally:
        await connection.close()
    assert (await shell("consume", "--from", "1900-01-01", "--count", "1")).lines == [{"id": "1"}]
