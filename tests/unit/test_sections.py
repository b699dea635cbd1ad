"""Each process reads the secrets of its own sections, and starts without all others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from deploy import config, process, sections
from deploy.cli import main
from deploy.config import ConfigError
from schemas import registry
from schemas.config import Config
from telemetry import logs

FILE = """
[api]
operator_token = { env = "OPERATOR_TOKEN" }
[accounts.apicbase.poll]
secrets = [{ env = "APICBASE_SECRET" }]
poll = { client_id = "supplier", client_secret = { env = "APICBASE_CLIENT_SECRET" } }
[accounts.channelape.rothys]
keys = [{ name = "token", secret = { file = "channelape" } }]
[accounts.ecomnow.shop]
authorizations = [{ env = "ECOMNOW_AUTHORIZATION" }]
[accounts.ustore.printshop]
secrets = [{ env = "USTORE_SECRET" }]
[operators.anna]
token = { env = "ANNA_TOKEN" }
role = "act"
[subscribers.boards]
username = "boards"
password = { env = "BOARDS_PASSWORD" }
accounts = ["channelape/*"]
"""
OWN = {
    "ingress": {"APICBASE_SECRET", "ECOMNOW_AUTHORIZATION", "USTORE_SECRET", "channelape"},
    "api": {"OPERATOR_TOKEN", "BOARDS_PASSWORD"},
    "console": {"OPERATOR_TOKEN", "ANNA_TOKEN"},
    "poll": {"APICBASE_CLIENT_SECRET"},
    "store": set[str](),
    "route": set[str](),
    "deliver": set[str](),
}
"""By process: the variables and the file that it reads."""
EVERY = {name for own in OWN.values() for name in own}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose secrets all exist; each one is its own name."""
    (tmp_path / "crossdock.toml").write_text(FILE)
    for name in EVERY - {"channelape"}:
        monkeypatch.setenv(name, name)
    (tmp_path / "channelape").write_text("channelape\n")
    return tmp_path / "crossdock.toml"


def leave_out(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name, raising=False)
    (file.parent / name).unlink(missing_ok=True)


@pytest.mark.parametrize("kind", OWN)
def test_a_process_starts_with_the_secrets_of_its_sections_alone(
    kind: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in EVERY - OWN[kind]:
        leave_out(name, file, monkeypatch)
    loaded = config.load(file, process=kind)
    assert set(config.secrets_of(loaded)) == OWN[kind]
    assert set(loaded.accounts) == set(registry.platforms())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, own in OWN.items() for name in sorted(own)])
def test_a_process_without_one_of_its_variables_does_not_start(
    kind: str, name: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out(name, file, monkeypatch)
    with pytest.raises(ConfigError, match=name):
        config.load(file, process=kind)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_check_misses_every_secret(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(name, file, monkeypatch)
    with pytest.raises(ConfigError, match=name):
        config.load(file)


def test_secrets_that_a_process_does_not_read_are_replaced_by_unguessable_text(file: Path) -> None:
    store = config.load(file, process="store")
    assert store.api.operator_token == store.subscribers["boards"].password == sections.UNREAD
    assert store.operators["anna"].token == sections.UNREAD
    assert len(sections.UNREAD) > 32
    assert sections.UNREAD not in EVERY
    assert store == config.load(file, process="store")  # a reload changes nothing


def test_a_secret_in_none_of_the_three_forms_is_an_error_in_every_process(file: Path) -> None:
    file.write_text(FILE.replace('{ env = "OPERATOR_TOKEN" }', '{ environment = "OPERATOR_TOKEN" }'))
    with pytest.raises(ConfigError, match=r"api\.operator_token: write the secret as"):
        config.load(file, process="route")


def test_variables_are_known_by_the_processes_that_read_them(file: Path) -> None:
    expected = {name: {kind for kind, own in OWN.items() if name in own} for name in EVERY - {"channelape"}}
    assert config.secret_variables(file) == expected


@pytest.mark.parametrize("kind", OWN)
def test_the_environment_of_a_process_contains_its_own_secrets_and_what_is_not_secret(kind: str, file: Path) -> None:
    secrets = {*EVERY - {"channelape"}, *sections.VARIABLES}
    variables = dict.fromkeys({*secrets, "PATH", "CROSSDOCK_STATE"}, "x")
    given = sections.environment(kind, variables, config.secret_variables(file)).keys()
    servers = {name for name, kinds in sections.VARIABLES.items() if kind in kinds}
    assert given == {"PATH", "CROSSDOCK_STATE"} | servers | (OWN[kind] - {"channelape"})
    assert "RABBITMQ_MANAGEMENT_URL" not in given


def secret_paths(kind: inspect.Type, path: str) -> Iterator[str]:
    """The path of every secret of a type, with the name `x` in place of an account's or a subscriber's."""
    if isinstance(kind, inspect.Metadata):
        if (kind.extra or {}).get("source") == "secret":
            yield path
        yield from secret_paths(kind.type, path)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from secret_paths(field.type, f"{path}.{field.encode_name}".lstrip("."))
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from secret_paths(member, path)
    elif isinstance(kind, inspect.ListType):
        yield from secret_paths(kind.item_type, f"{path}[0]")
    elif isinstance(kind, inspect.DictType):
        yield from secret_paths(kind.value_type, f"{path}.x")


def test_every_secret_of_the_configuration_has_a_reader() -> None:
    """A new section with a secret has to say in `deploy.sections` whose it is."""
    paths = list(secret_paths(inspect.type_info(Config), ""))
    for platform in registry.platforms().values():
        paths += secret_paths(inspect.type_info(platform.account), f"accounts.{platform.name}.x")
    assert len(paths) >= 7
    assert [path for path in paths if not sections.readers(path) or sections.readers(path) - OWN.keys()] == []


class StopError(Exception):
    """Ends a process that would start."""


@pytest.mark.parametrize("kind", OWN)
def test_a_process_loads_its_own_part(kind: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Config] = []

    def build(loaded: Config) -> Any:
        started.append(loaded)
        raise StopError

    monkeypatch.setattr(logs, "setup", lambda *_: None)
    with pytest.raises(StopError):
        process.run(kind, build, config_path=file)
    assert set(config.secrets_of(started[0])) == OWN[kind]


@pytest.mark.parametrize("args", [["topology", "export"], ["route", "explain", "--account", "printshop", "FILE"]])
def test_commands_that_need_no_secret_run_without(
    args: list[str], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in EVERY:
        leave_out(name, file, monkeypatch)
    order = Path(__file__).parents[2] / "schemas/platforms/ustore/examples/manufacturer_allocation.json"
    args = [str(order) if word == "FILE" else word for word in args]
    assert main.main([*args, "--config", str(file)]) == 0, capsys.readouterr().err
