"""The configuration file: what it may say, where its secrets come from, and how mistakes are named."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from deploy import config
from deploy.config import ConfigError
from schemas import registry
from schemas.config import Config, parse_size

ROOT = Path(__file__).parents[2]


def names(kind: inspect.Type) -> set[str]:
    """Every field of a Struct, and of the Structs within it."""
    result: set[str] = set()
    if isinstance(kind, inspect.Metadata):
        return names(kind.type)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            result |= {field.encode_name} | names(field.type)
    if isinstance(kind, inspect.UnionType):
        for member in kind.types:
            result |= names(member)
    if isinstance(kind, inspect.ListType):
        result |= names(kind.item_type)
    if isinstance(kind, inspect.DictType):
        result |= names(kind.value_type)
    return result


def test_the_commented_defaults_are_the_defaults() -> None:
    assert config.load(ROOT / "crossdock.toml") == config.parse({}, ROOT)


@pytest.mark.parametrize("shape", [Config, *(p.account for p in registry.platforms().values())])
def test_the_commented_defaults_name_every_setting(shape: type[Any]) -> None:
    text = (ROOT / "crossdock.toml").read_text()
    message = set(re.findall(r"[A-Za-z_]+", text))
    assert names(inspect.type_info(shape)) <= message


def test_secrets_come_from_text_environment_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "from env")
    (tmp_path / "secret").write_text("from file\n")
    (tmp_path / "crossdock.toml").write_text(
        '[accounts.apicbase.acme]\nsecrets = ["text", { env = "A_SECRET" }, { file = "secret" }]\n'
    )
    loaded = config.load(tmp_path / "crossdock.toml")
    assert loaded.accounts["apicbase"]["acme"].secrets == ["text", "from env", "from file"]
    assert config.secrets_of(loaded) == ["from file", "from env", "text"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"ingress": {"prt": 1}}, "ingress.prt: unknown key"),
        ({"ingres": {}}, "ingres: unknown key"),
        ({"ingress": {"port": "x"}}, "ingress.port"),
        ({"ingress": {"max_body": "1 elephant"}}, "ingress.max_body"),
        ({"ingress": {"max_buffered": "all"}}, "ingress.max_buffered"),
        ({"accounts": {"nowhere": {}}}, "accounts.nowhere: unknown platform"),
        ({"accounts": {"apicbase": {"a.b": {"secrets": ["x"]}}}}, "accounts.apicbase.a.b"),
        ({"accounts": {"apicbase": {"acme": {"secretz": ["x"]}}}}, "accounts.apicbase.acme.secretz: unknown key"),
        ({"accounts": {"apicbase": {"acme": {"secrets": [{"env": "NOT_SET_ANYWHERE"}]}}}}, "NOT_SET_ANYWHERE"),
        ({"accounts": {"apicbase": {"acme": {"secrets": [{"file": "nowhere"}]}}}}, "accounts.apicbase.acme.secrets[0]"),
        ({"accounts": {"apicbase": {"acme": {}}}}, "accounts.apicbase.acme"),
        ({"storage": {"retention_days": 0}}, "storage.retention_days"),
        ({"events": {"log_max_age": "7 days"}}, "events.log_max_age: must be a number and one of Y, M, D, h, m, s"),
        ({"log": {"level": "INFO"}}, "log.level: must be debug, info, warning or error"),
        ({"telemetry": {"otlp_endpoint": "collector:4318"}}, "telemetry.otlp_endpoint: must be a URL with http"),
        ({"subscribers": {"a b": {}}}, "subscribers: a name in it must be of at most 64 letters, digits, - and _"),
    ],
)
def test_mistakes_are_named_by_their_key(raw: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config.parse(raw, tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_articles_come_from_the_first_column_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("article,name\nART-1,one\n ART-2 ,two\n\n")
    raw = {"accounts": {"apicbase": {"acme": {"secrets": ["x"], "articles": {"file": "a.csv"}}}}}
    assert config.parse(raw, tmp_path).accounts["apicbase"]["acme"].articles == ["ART-1", "ART-2"]


def test_demo_accounts_are_for_loopback_only() -> None:
    assert set(config.parse({}, ROOT).accounts) == set(registry.platforms())
    assert config.parse({"ingress": {"host": "0.0.0.0"}}, ROOT).accounts == {}
    mine = {"accounts": {"channelape": {"me": {"keys": [{"name": "k", "secret": "s"}]}}}}
    assert set(config.parse(mine, ROOT).accounts) == {"channelape"}


def test_configuration_files_have_an_order_of_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, level in (("crossdock.toml", "debug"), ("env.toml", "info"), ("given.toml", "error")):
        (tmp_path / name).write_text(f'[log]\nlevel = "{level}"\n')
    monkeypatch.chdir(tmp_path)
    assert config.load().log.level == "debug"
    monkeypatch.setenv("CROSSDOCK_CONFIG", "env.toml")
    assert config.load().log.level == "info"
    assert config.load(Path("given.toml")).log.level == "error"


def test_a_file_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        config.load(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("[")
    with pytest.raises(ConfigError, match="not TOML"):
        config.load(tmp_path / "bad.toml")


@pytest.mark.parametrize(("text", "size"), [("1MiB", 1048576), ("64 kB", 64000), ("10", 10), (7, 7)])
def test_sizes_are_read_with_their_units(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_a_config_can_be_changed_without_touching_the_old_one() -> None:
    loaded = config.parse({}, ROOT)
    changed = msgspec.structs.replace(loaded, ingress=msgspec.structs.replace(loaded.ingress, port=1))
    assert (loaded.ingress.port, changed.ingress.port) == (8080, 1)


def test_invalid_networks_are_named() -> None:
    with pytest.raises(ConfigError, match=r"delivery\.allow_networks: .*10\.0\.0\.1/8"):
        config.parse({"delivery": {"allow_networks": ["10.0.0.1/8"]}}, Path())


def test_accounts_with_the_same_secret_are_named_and_the_secret_is_not_shown() -> None:
    from deploy.cli.check_local import shared_secrets

    keys = {"shop": [" hush "], "other": ["hush"], "third": ["quiet"]}
    accounts = {
        name: {"keys": [{"name": "token", "secret": secret} for secret in secrets]} for name, secrets in keys.items()
    }
    (problem,) = shared_secrets(config.parse({"accounts": {"channelape": accounts}}, Path()))
    assert "accounts.channelape.other and accounts.channelape.shop have the same secret" in problem
    assert "hush" not in problem


def test_check_names_patterns_that_match_nothing_and_limits_that_are_too_low() -> None:
    from deploy.cli import check, check_local

    raw = {
        "ingress": {"max_body": "20MiB", "max_connections": 5000},
        "accounts": {"channelape": {"rothys": {"keys": [{"name": "token", "secret": "s"}]}}},
        "subscribers": {"boards": {"username": "b", "password": "p", "accounts": ["channelape/*", "ecomnow/shop"]}},
    }
    loaded = config.parse(raw, Path())
    (unknown,) = check_local.subscriber_problems(loaded)
    assert "subscribers.boards: 'ecomnow/shop' matches no configured account (channelape/rothys)" in unknown
    files, disk = check_local.machine_problems(loaded, 1024, 500 * 1024**2)
    assert "may open 1024 files" in files
    assert "ulimit -n 5100" in files
    assert disk.startswith("500 MB are free")
    assert check_local.machine_problems(loaded, 5100, 2 * 1024**3) == []
    (large,) = check.size_notes(loaded, 4)
    assert "'20MiB' is more than RabbitMQ 4 takes by default" in large
    assert check.size_notes(loaded, 3) == []
