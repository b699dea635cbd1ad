"""The command line's manners: what it makes of wrong usage and of trouble, and what it prints."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import typer

from broker.declare import TopologyError
from broker.outgoing import BrokerUnavailableError
from deploy import state
from deploy.cli import errors, main, output, servers
from deploy.config import ConfigError
from deploy.process import MissingSettingError
from storage.migrate import MigrationError

HEAVY = (
    "aio_pika",
    "aiohttp",
    "aiormq",
    "asyncpg",
    "msgspec",
    "orjson",
    "rich",
    "uvloop",
    "schemas",
    "prometheus_client",
)


def commands() -> dict[str, Any]:
    """Every command by what is typed."""

    def walk(command: Any, path: str) -> dict[str, Any]:
        if not hasattr(command, "commands"):
            return {path: command}
        table: dict[str, Any] = {}
        for name, child in command.commands.items():
            table |= walk(child, f"{path} {name}".strip())
        return table

    return walk(typer.main.get_command(main.app), "")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line that ends before it does anything: exit code, output, errors."""

    def run(*args: str) -> tuple[int, str, str]:
        code = main.main(args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["worker", "frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option: --frobnicate"),
        (["send"], "Missing argument 'PLATFORM'"),
        (["send", "apicbase"], "Missing argument 'EVENT'"),
        (["send", "faxbase", "purchase_order"], "'faxbase' is not one of apicbase, channelape, ecomnow, ustore"),
        (["send", "apicbase", "fax"], "'fax' is not one of purchase_order"),
        (["send", "apicbase", "purchase_order", "--count", "0"], "'--count'"),
        (["send", "apicbase", "purchase_order", "--count", "many"], "'--count'"),
        (["send", "apicbase", "purchase_order", "--rate", "-1"], "'--rate'"),
        (["send", "apicbase", "purchase_order", "--url", "ftp://x"], "http://127.0.0.1:8080"),
        (["ingress", "--port", "70000"], "'--port'"),
        (["trace"], "Missing argument 'KEY'"),
        (["quarantine", "show", "7"], "'7' is not an ID"),
        (["quarantine", "replay"], "name the messages, or give --all"),
        (["quarantine", "replay", "--all", str(UUID(int=7))], "not both"),
        (["quarantine", "discard"], "name the messages"),
        (["route", "explain", "order.json"], "Missing option '--account'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args: list[str], says: str, run: Any) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("crossdock: ")
    assert err.count("\n") == 1
    assert says in err
    assert "--help` shows what is accepted" in err


@pytest.mark.parametrize("args", [[], ["worker"], ["topology"], ["quarantine"], ["route"]])
def test_a_missing_command_shows_the_commands(args: list[str], run: Any) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert "Commands:" in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["ingress"], "AMQP_URL is not set"),
        (["worker", "route"], "AMQP_URL is not set"),
        (["worker", "store"], "AMQP_URL is not set"),
        (["migrate"], "DATABASE_URL is not set and no `crossdock up` runs on .crossdock"),
        (["topology", "apply"], "AMQP_URL is not set and no `crossdock up` runs on .crossdock"),
        (["topology", "check", "--state", "here"], "no `crossdock up` runs on here"),
        (["send", "apicbase", "purchase_order"], "no `crossdock up` runs on .crossdock: start one, or give --url"),
        (
            ["send", "apicbase", "purchase_order", "--account", "x"],
            "no account 'x' of apicbase is configured; known: acme",
        ),
        (["send", "apicbase", "purchase_order", "--file", "no.json"], "no.json: No such file"),
        (["send", "apicbase", "purchase_order", "--config", "no.toml"], "no.toml can't be read"),
        (["ingress", "--config", "bad.toml"], "ingress.prot: unknown key"),
        (["up", "--config", "bad.toml"], "ingress.prot: unknown key"),
        (["route", "explain", "no.json", "--account", "x"], "no account 'x' of ustore is configured; known: printshop"),
        (["route", "explain", "no.json", "--account", "printshop"], "no.json: No such file"),
        (["route", "explain", "bad.toml", "--account", "printshop"], "bad.toml is not an order: "),
    ],
)
def test_a_failed_command_is_one_line_and_exit_code_1(
    args: list[str], says: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("[ingress]\nprot = 1\n")
    code, out, err = run(*args)
    assert (code, out) == (1, "")
    assert err.startswith("crossdock: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize("url", ["nonsense", "http://u:hush@h/", "amqp://u:hu/sh@h:5672/", "amqp://u:hush@h:port/"])
def test_a_url_that_can_not_be_read_is_not_shown(url: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", url)
    for args in (["ingress"], ["worker", "route"], ["topology", "apply"]):
        code, _, err = run(*args)
        assert code == 1
        assert "AMQP_URL can't be read: write amqp://" in err
        assert "hu" not in err


def test_an_invalid_database_url_is_one_line_without_the_password(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", "amqp://h/")
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hush@h/")
    for args in (["worker", "store"], ["migrate"], ["trace", "1"]):
        code, _, err = run(*args)
        assert code == 1
        assert "DATABASE_URL can't be read: write postgresql://" in err
        assert "hush" not in err


def test_the_version_is_printed(run: Any) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(r"crossdock \d+\.\d+\.\d+\n", out)


def test_export_needs_no_broker(run: Any) -> None:
    code, out, _ = run("topology", "export", "--vhost", "orders")
    assert code == 0
    definitions = json.loads(out)
    assert {queue["vhost"] for queue in definitions["queues"]} == {"orders"}
    assert "crossdock.store" in {queue["name"] for queue in definitions["queues"]}


def test_every_command_of_the_contract_is_there() -> None:
    assert set(commands()) >= {
        "up", "ingress", "api", "worker store", "worker route", "worker deliver", "worker poll", "migrate", "roles",
        "topology apply", "topology check",
        "topology export", "send", "trace", "quarantine list", "quarantine show", "quarantine replay",
        "quarantine discard", "status", "check", "route explain", "deliveries list", "deliveries show",
        "deliveries retry", "deliveries cancel", "replay", "consume", "consumers add", "consumers list",
        "consumers remove", "consumers retry", "asyncapi",
    }  # fmt: skip


def test_all_but_processes_print_json() -> None:
    without = {
        path
        for path, command in commands().items()
        if "--json" not in {name for param in command.params for name in param.opts}
    }
    workers = {f"worker {kind}" for kind in ("store", "route", "deliver", "poll")}
    # The last three print nothing but JSON, `roles` nothing but SQL, and `listen` is for eyes.
    assert without == {
        "up",
        "ingress",
        "api",
        "console",
        *workers,
        "roles",
        "topology export",
        "consume",
        "listen",
        "asyncapi",
    }


def test_every_command_says_what_it_does() -> None:
    for path, command in commands().items():
        first = (command.help or "").splitlines()[0]
        assert first.endswith("."), path
        for param in command.params:
            assert getattr(param, "hidden", False) or getattr(param, "help", None), f"{path} {param.name}"


def test_help_imports_nothing_heavy() -> None:
    """What makes `crossdock --help` fast; the time itself depends on who else uses the machine."""
    script = (
        "import sys; from deploy.cli.main import main; code = main(['--help']); "
        f"found = [name for name in {HEAVY!r} if name in sys.modules]; "
        "sys.exit(f'{code} {found}' if code or found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_errors_that_are_distinguished_exist() -> None:
    for name in (*errors.SCHEMA, *errors.LOGIN):
        assert issubclass(getattr(asyncpg, name), asyncpg.PostgresError)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.CommandError("two\nlines"), "two lines"),
        (ConfigError("ingress.port: wrong"), "ingress.port: wrong"),
        (TopologyError("apply it"), "apply it"),
        (MigrationError("restore it"), "restore it"),
        (MissingSettingError("AMQP_URL is not set"), "AMQP_URL is not set"),
        (BrokerUnavailableError("no confirm"), "no confirm"),
        (asyncpg.UndefinedTableError("relation"), "run `crossdock migrate`"),
        (asyncpg.InvalidPasswordError("no"), "refuses the login: no; check DATABASE_URL"),
        (asyncpg.InsufficientPrivilegeError("permission denied for table x"), "`crossdock roles` shows which role may"),
        (asyncpg.DiskFullError("no room"), "PostgreSQL reports: no room"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (FileNotFoundError(2, "No such file", "x.json"), "x.json: No such file or directory"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_expected_errors_are_explained_in_one_line(error: Exception, says: str) -> None:
    text = errors.explain(error)
    assert text is not None
    assert says in text
    assert "\n" not in text


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError()])
def test_unexpected_errors_are_not_explained(error: Exception) -> None:
    assert errors.explain(error) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hush@host:5432/db", "postgresql://user@host:5432/db"),
        ("postgresql://user:hush@a:1,b:2/db?password=hush", "postgresql://user@a:1,b:2/db"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://host/db?password=hush", "postgresql://host/db"),
        ("postgresql://user:h@u:s@host/db", "postgresql://user@host/db"),
        ("postgresql://user:hu/sh@host/db", "postgresql://user@host/db"),
        ("postgresql://user:hu?sh@host/db", "postgresql://…"),
        ("amqp://user@host/", "amqp://user@host/"),
        ("hush", "…"),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    assert servers.redacted(url) == shown


def test_environment_goes_before_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endpoints.json").write_text('{"postgres": "postgresql://there/", "amqp": "amqp://there/"}')
    assert servers.database_url(tmp_path) == "postgresql://there/"
    monkeypatch.setenv("CROSSDOCK_STATE", str(tmp_path))
    assert servers.amqp_url() == "amqp://there/"
    monkeypatch.setenv("AMQP_URL", "amqp://here/")
    monkeypatch.setenv("DATABASE_URL", "postgresql://here/")
    assert servers.amqp_url(tmp_path) == "amqp://here/"
    assert servers.database_url(tmp_path) == "postgresql://here/"


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_an_invalid_endpoints_file_means_that_no_up_is_running(text: str, tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(text)
    assert state.read_endpoints(tmp_path) == state.Endpoints()


def test_json_output_contains_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"at": datetime(2026, 11, 21, tzinfo=UTC), "id": UUID(int=1), "raw": b"caf\xc3\xa9 \xff"}
    output.print_json(value)
    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-11-21T00:00:00Z",
        "id": "00000000-0000-0000-0000-000000000001",
        "raw": "café \ufffd",
    }


def test_tables_escape_what_senders_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "n"), [("[bold]x[/bold] \x1b[2J\x07", 7), (None, 12)], title="t\x1b", right=("n",))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["t\\x1b"],
        ["name", "n"],
        ["[bold]x[/bold]", "\\x1b[2J\\x07", "7"],
        ["12"],
    ]


def test_tables_keep_to_100_columns_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    output.print_table(("a", "b"), [("x" * 150, "word " * 40)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= output.WIDTH
    assert sum(line.count("x") for line in lines) == 150


def test_times_are_shown_in_utc() -> None:
    at = datetime(2026, 11, 21, 10, 30, 0, 123456, timezone(timedelta(hours=1)))
    assert output.moment(at) == "2026-11-21 09:30:00"
    assert output.moment(at, fraction=True) == "2026-11-21 09:30:00.123"
    assert output.moment(None) == ""


def test_a_pooler_by_transaction_is_a_line() -> None:
    line = errors.explain(asyncpg.DuplicatePreparedStatementError("prepared statement already exists\nHINT: …"))
    assert line is not None
    assert "pool_mode = session" in line


def test_control_characters_are_shown_as_escapes() -> None:
    text = "a\x1b]0;owned\x07 \x9b31m \u202eb"
    assert output.printable(text) == "a\\x1b]0;owned\\x07 \\x9b31m \\u202eb"
    shown = output.printable_json(json.dumps({"name": text}, ensure_ascii=False))
    assert shown.isprintable()
    assert json.loads(shown) == {"name": text}
