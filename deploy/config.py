"""Loads `crossdock.toml`: finds the file, resolves secrets, checks every key, and says where it is wrong."""

import ipaddress
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from deploy import columns, secrets
from schemas import registry
from schemas.config import Config, Store, parse_size
from schemas.destinations.addresses import networks
from schemas.destinations.guard import Guard

FILE = "crossdock.toml"


class ConfigError(ValueError):
    """The configuration can't be used; one line that names the key and says what to do."""


def find(path: Path | None = None) -> Path | None:
    """The file that `load` reads: `path`, else CROSSDOCK_CONFIG, else ./crossdock.toml if there is one."""
    if path is not None:
        return path
    if named := os.environ.get("CROSSDOCK_CONFIG"):
        return Path(named)
    return Path(FILE) if Path(FILE).is_file() else None


def load(path: Path | None = None) -> Config:
    """The configuration, secrets resolved. Raises ConfigError.

    Without accounts, and listening on loopback only, there are the demo accounts of every platform.
    """
    file = find(path)
    if file is None:
        return parse({}, Path.cwd())
    return parse(_read(file), file.resolve().parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows editors begin a file with a byte order mark
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8: save it in that encoding") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None


def store_shards(path: Path | None = None) -> int:
    """Return `[store] shards` alone, without any secret: for commands that need nothing else. Raises ConfigError."""
    file = find(path)
    if file is None:
        return Store().shards
    store = _read(file).get("store", {})
    found: Store = _convert(store, Store, "store", file.resolve().parent)
    return found.shards


def account_names(path: Path | None = None) -> list[str]:
    """Return `platform/name` of every account in the file, without resolving any secret. Raises ConfigError.

    Without a file there are none, because this may not be the machine that the accounts are configured on.
    """
    file = find(path)
    if file is None:
        return []
    accounts = _read(file).get("accounts", {})
    tables = accounts.items() if isinstance(accounts, dict) else ()
    names = [f"{platform}/{name}" for platform, named in tables if isinstance(named, dict) for name in named]
    return names or [f"{platform.name}/{platform.demo[0]}" for platform in registry.platforms().values()]


def parse(raw: dict[str, Any], base: Path) -> Config:
    """The configuration of a decoded file; relative paths are relative to `base`. Raises ConfigError."""
    accounts = raw.get("accounts", {})
    rest = {key: value for key, value in raw.items() if key != "accounts"}
    config: Config = _convert(rest, Config, "", base)
    found = _accounts(accounts, base)
    if not found and all(map(is_loopback, config.ingress.hosts)):
        for platform in registry.platforms().values():
            name, settings = platform.demo
            found[platform.name] = {
                name: _convert(settings, platform.account, f"accounts.{platform.name}.{name}", base)
            }
    for name in ("max_body", "max_buffered"):
        try:
            parse_size(getattr(config.ingress, name))
        except ValueError as error:
            raise ConfigError(f"ingress.{name}: {error}") from None
    try:
        Guard(config.delivery.allow_networks, config.delivery.allow_http)
    except ValueError as error:
        raise ConfigError(f"delivery.allow_networks: {error}") from None
    try:
        networks(config.api.trusted_proxies)
    except ValueError as error:
        raise ConfigError(f"api.trusted_proxies: {error}") from None
    loaded: Config = msgspec.structs.replace(config, accounts=found)
    return loaded


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def secrets_of(config: Config) -> list[str]:
    """Every secret value in use: what must never be seen."""
    found = [config.api.operator_token] if config.api.operator_token else []
    found += [subscriber.password for subscriber in config.subscribers.values()]
    for platform in registry.platforms().values():
        for settings in config.accounts.get(platform.name, {}).values():
            found += platform.secrets(settings)
    return sorted({secret for secret in found if secret}, key=len, reverse=True)


def secret_warnings(path: Path | None = None) -> list[str]:
    """Return a sentence for each secret that probably isn't what the other side has; the secrets aren't shown.

    So are names that both sides must have alike. Newlines at the end are left out when the configuration is loaded;
    everything else is part of the secret. Raises ConfigError where the configuration can't be loaded.
    """
    return [f"{key}: {trouble}" for key, value in _written(path) if (trouble := secrets.trouble(value)) is not None]


def _written(path: Path | None) -> Iterator[tuple[str, secrets.Written]]:
    file = find(path)
    if file is None:
        return
    config = load(path)
    raw = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    shapes: list[tuple[str, Any, type[Any]]] = [("", {k: v for k, v in raw.items() if k != "accounts"}, Config)]
    for platform in registry.platforms().values():
        for name in config.accounts.get(platform.name, {}):
            settings = raw.get("accounts", {}).get(platform.name, {}).get(name)
            shapes.append((f"accounts.{platform.name}.{name}", settings, platform.account))
    for where, settings, shape in shapes:
        yield from _secrets(settings, inspect.type_info(shape), where, file.resolve().parent, {})


def _secrets(
    value: Any, kind: inspect.Type, path: str, base: Path, extra: dict[str, Any]
) -> Iterator[tuple[str, secrets.Written]]:
    """Every secret as it is written, with its key."""
    if isinstance(kind, inspect.Metadata):
        yield from _secrets(value, kind.type, path, base, {**extra, **(kind.extra or {})})
    elif isinstance(kind, inspect.UnionType):
        yield from _secrets(value, _chosen(value, kind), path, base, extra)
    elif extra.get("source") in ("secret", "credential") and isinstance(value, str | dict):
        variable = str(value.get("env", "")) if isinstance(value, dict) else ""
        text = _secret(value, path, base)
        yield path, secrets.Written(text, variable, extra["source"] == "secret", extra.get("sent_in") == "query")
    elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for key, item in value.items():
            yield from _secrets(item, fields[key], _join(path, key), base, {})
    elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, kind.value_type, _join(path, key), base, {})
    elif isinstance(kind, inspect.ListType) and isinstance(value, list):
        for n, item in enumerate(value):
            yield from _secrets(item, kind.item_type, f"{path}[{n}]", base, {})


def _accounts(raw: Any, base: Path) -> dict[str, dict[str, Any]]:
    if not isinstance(raw, dict):
        raise ConfigError("accounts: must be tables, as in [accounts.channelape.rothys]")
    found: dict[str, dict[str, Any]] = {}
    for name, accounts in raw.items():
        platform = registry.platforms().get(name)
        if platform is None:
            raise ConfigError(f"accounts.{name}: unknown platform; known: {', '.join(registry.platforms())}")
        if not isinstance(accounts, dict):
            raise ConfigError(f"accounts.{name}: must be tables, as in [accounts.{name}.shop]")
        found[name] = {}
        for account, settings in accounts.items():
            path = f"accounts.{name}.{account}"
            if not account.isascii() or not account.replace("_", "").replace("-", "").isalnum() or len(account) > 64:
                raise ConfigError(f"{path}: a name has letters, digits, - and _ only: it is part of a routing key")
            found[name][account] = _convert(settings, platform.account, path, base)
    return found


def _convert(raw: Any, shape: type[Any], path: str, base: Path) -> Any:
    resolved = _resolve(raw, inspect.type_info(shape), path, base, None)
    try:
        return msgspec.convert(resolved, shape)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `$")
        key = ".".join(part for part in (path, where.rstrip("`").lstrip(".")) if part) or "configuration"
        raise ConfigError(f"{key}: {text[:1].lower()}{text[1:]}") from None


def _resolve(value: Any, kind: inspect.Type, path: str, base: Path, source: str | None) -> Any:
    """`value` with secrets and columns read from where they say, and unknown keys refused by name."""
    if isinstance(kind, inspect.Metadata):
        return _resolve(value, kind.type, path, base, (kind.extra or {}).get("source", source))
    if isinstance(kind, inspect.UnionType):
        return _resolve(value, _chosen(value, kind), path, base, source)
    if source == "secret" and isinstance(value, str | dict):
        return _secret(value, path, base).rstrip("\r\n")
    if source == "column" and isinstance(value, dict):
        return _column(value, path, base)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for key in value:
            if key not in fields:
                raise ConfigError(f"{_join(path, key)}: unknown key; known: {', '.join(fields)}")
        return {key: _resolve(item, fields[key], _join(path, key), base, None) for key, item in value.items()}
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {key: _resolve(item, kind.value_type, _join(path, key), base, None) for key, item in value.items()}
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_resolve(item, kind.item_type, f"{path}[{n}]", base, None) for n, item in enumerate(value)]
    return value


def _chosen(value: Any, union: inspect.UnionType) -> inspect.Type:
    """The member of a union that `value` is meant for: by its kind, and a marked one for a `{ env = … }`."""
    for member in union.types:
        bare = member
        marked = False
        while isinstance(bare, inspect.Metadata):
            marked = marked or "source" in (bare.extra or {})
            bare = bare.type
        if isinstance(value, dict) and (marked or isinstance(bare, inspect.StructType | inspect.DictType)):
            return member
        if isinstance(value, list) and isinstance(bare, inspect.ListType):
            return member
    if isinstance(value, dict | list):
        return inspect.AnyType()
    return next(member for member in union.types if not isinstance(member, inspect.NoneType))


def _secret(value: str | dict[str, Any], path: str, base: Path) -> str:
    """The secret as written; newlines at its end come from editors and `echo`, and are left out by the caller."""
    if isinstance(value, str):
        return value
    if list(value) == ["env"]:
        found = os.environ.get(str(value["env"]))
        if not found:
            raise ConfigError(f"{path}: the environment variable {value['env']} is not set")
        return found
    if list(value) == ["file"]:
        file = base / str(value["file"])
        try:
            return file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {file} can't be read: {getattr(error, 'strerror', 'not UTF-8')}") from None
    raise ConfigError(f'{path}: write the secret as "text", {{ env = "NAME" }} or {{ file = "path" }}')


def _column(value: dict[str, Any], path: str, base: Path) -> list[str]:
    if list(value) != ["file"]:
        raise ConfigError(f'{path}: write a list, or {{ file = "{path.rsplit(".", 1)[-1]}.csv" }}')
    file = base / str(value["file"])
    try:
        return columns.read(file, path.rsplit(".", 1)[-1].removesuffix("s"))
    except OSError as error:
        raise ConfigError(f"{path}: {file} can't be read: {error.strerror or error}") from None
    except columns.ColumnError as error:
        raise ConfigError(f"{path}: {file}: {error}") from None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
