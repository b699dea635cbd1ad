"""Loads `crossdock.toml`: finds the file, resolves secrets and columns, and names the key of every mistake."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import inspect

from deploy import columns, secrets, sections
from schemas import mismatches, registry
from schemas.config import FORMATS, Config, Store, Subscriber, parse_body_size
from schemas.destinations.addresses import is_loopback, networks
from schemas.destinations.guard import Guard

FILE = "crossdock.toml"

T = TypeVar("T")


class ConfigError(ValueError):
    """The configuration cannot be used; the text is one line that names the key and says what to do."""


def find(path: Path | None = None) -> Path | None:
    """Return the file that `load` reads: `path`, else CROSSDOCK_CONFIG, else ./crossdock.toml if it exists."""
    if path is not None:
        return path
    if named := os.environ.get("CROSSDOCK_CONFIG"):
        return Path(named)
    return Path(FILE) if Path(FILE).is_file() else None


def load(path: Path | None = None, *, process: str | None = None) -> Config:
    """Return the configuration with its secrets resolved. Raises ConfigError.

    Without accounts, and when only loopback addresses are listened on, it has the demo accounts of every platform.
    `process`: the kind of process or command that it is for, which gets the secrets of its own sections only
    (`sections.readers`); the others need not exist, and have an unguessable value. None resolves all of them.
    """
    return _load(path, process)[0]


def secret_variables(path: Path | None = None) -> dict[str, frozenset[str]]:
    """Return the environment variables that hold secrets, each with the processes that read it. Raises ConfigError."""
    variables: dict[str, frozenset[str]] = {}
    for key, written in _load(path)[1].written.items():
        if written.variable:
            variables[written.variable] = variables.get(written.variable, frozenset()) | sections.readers(key)
    return variables


def store_shards(path: Path | None = None) -> int:
    """Return `[store] shards` alone, without resolving any secret. Raises ConfigError."""
    file = find(path)
    if file is None:
        return Store().shards
    return _Resolver(file.resolve().parent).convert(_read(file).get("store", {}), Store, "store").shards


def secret_problems(path: Path | None = None) -> list[str]:
    """Return one line per secret that is probably not what the other side has, without showing it.

    Names that both sides must have alike are checked as well. Newlines at the end are not reported, because they are
    removed when the configuration is loaded. Raises ConfigError.
    """
    _, resolver = _load(path)
    problems = ((key, secrets.trouble(written)) for key, written in resolver.written.items())
    return [f"{key}: {problem}" for key, problem in problems if problem is not None]


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


def parse(raw: Mapping[str, object], base: Path) -> Config:
    """Return the configuration of a decoded file; relative paths are relative to `base`. Raises ConfigError."""
    return _parse(raw, _Resolver(base))


def secrets_of(config: Config) -> list[str]:
    """Return every secret value that was read, the longest first; none of them may appear in a log."""
    values = [config.api.operator_token or "", *(subscriber.password for subscriber in config.subscribers.values())]
    values += [operator.token or "" for operator in config.operators.values()]
    for platform in registry.platforms().values():
        for settings in config.accounts.get(platform.name, {}).values():
            values += platform.secrets(settings)
    return sorted({secret for secret in values if secret and secret != sections.UNREAD}, key=len, reverse=True)


def _load(path: Path | None, process: str | None = None) -> "tuple[Config, _Resolver]":
    file = find(path)
    resolver = _Resolver(Path.cwd() if file is None else file.resolve().parent, process)
    return _parse({} if file is None else _read(file), resolver), resolver


def _read(file: Path) -> dict[str, object]:
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows editors begin a file with a byte order mark
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8: save it in that encoding") from None
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also an integer of thousands of digits
        raise ConfigError(f"{file} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply") from None


def _parse(raw: Mapping[str, object], resolver: "_Resolver") -> Config:
    try:
        config = resolver.convert({key: value for key, value in raw.items() if key != "accounts"}, Config, "")
    except ConfigError as error:
        subscribers = raw.get("subscribers")
        if str(error).startswith("subscribers[...]") and isinstance(subscribers, dict):
            for name, subscriber in subscribers.items():  # alone, so that the error has the subscriber's name
                resolver.convert(subscriber, Subscriber, f"subscribers.{name}")
        raise
    accounts = _accounts(raw.get("accounts", {}), resolver)
    if not accounts and all(map(is_loopback, config.ingress.hosts)):
        for platform in registry.platforms().values():
            name, settings = platform.demo
            path = f"accounts.{platform.name}.{name}"
            accounts[platform.name] = {name: resolver.convert(settings, platform.account, path)}
    checks: Mapping[str, Callable[[], object]] = {
        "ingress.max_body": lambda: parse_body_size(config.ingress.max_body),
        "ingress.max_buffered": lambda: parse_body_size(config.ingress.max_buffered),
        "delivery.allow_networks": lambda: Guard(config.delivery.allow_networks, config.delivery.allow_http),
        "api.trusted_proxies": lambda: networks(config.api.trusted_proxies),
        "console.trusted_proxies": lambda: networks(config.console.trusted_proxies),
    }
    for key, check in checks.items():
        try:
            check()
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
    return msgspec.structs.replace(config, accounts=accounts)


def _accounts(raw: object, resolver: "_Resolver") -> dict[str, dict[str, msgspec.Struct]]:
    if not isinstance(raw, dict):
        raise ConfigError("accounts: must be tables, as in [accounts.channelape.rothys]")
    accounts: dict[str, dict[str, msgspec.Struct]] = {}
    for name, tables in raw.items():
        platform = registry.platforms().get(name)
        if platform is None:
            raise ConfigError(f"accounts.{name}: unknown platform; known: {', '.join(registry.platforms())}")
        if not isinstance(tables, dict):
            raise ConfigError(f"accounts.{name}: must be tables, as in [accounts.{name}.shop]")
        accounts[name] = {}
        for account, settings in tables.items():
            path = f"accounts.{name}.{account}"
            if not account.isascii() or not account.replace("_", "").replace("-", "").isalnum() or len(account) > 64:
                raise ConfigError(f"{path}: a name has letters, digits, - and _ only: it is part of a routing key")
            accounts[name][account] = resolver.convert(settings, platform.account, path)
    return accounts


class _Resolver:
    """Reads the secrets and columns that a decoded file refers to, and converts the result to Structs."""

    def __init__(self, base: Path, process: str | None = None) -> None:
        """`base`: the folder that relative paths are relative to. `process`: whose secrets are read, None for all."""
        self._base = base
        self._process = process
        self.written: dict[str, secrets.Written] = {}
        """Every secret and credential as it is written, by its key."""

    def convert(self, raw: object, shape: type[T], path: str) -> T:
        """Return the value at `path` of the file as a `shape`. Raises ConfigError."""
        resolved = self._resolve(raw, inspect.type_info(shape), path, {})
        try:
            return msgspec.convert(resolved, shape)
        except msgspec.ValidationError as error:
            text, _, where = str(error).partition(" - at `")
            place = where.rpartition("$")[2].rstrip("`").lstrip(".")
            key = ".".join(part for part in (path, place) if part) or "configuration"
            worded = mismatches.in_words(text, FORMATS)
            if worded != text and where.startswith("key`"):
                worded = f"a name in it {worded}"
            text = worded
            raise ConfigError(f"{key}: {text[:1].lower()}{text[1:]}") from None

    def _resolve(self, value: object, kind: inspect.Type, path: str, extra: Mapping[str, object]) -> object:
        """Return `value` with secrets and columns read from where it says. Raises ConfigError, also for unknown keys.

        `extra`: the type's metadata, of which `source` is "secret", "credential" or "column".
        """
        if isinstance(kind, inspect.Metadata):
            return self._resolve(value, kind.type, path, {**extra, **(kind.extra or {})})
        if isinstance(kind, inspect.UnionType):
            return self._resolve(value, _chosen(value, kind), path, extra)
        source, is_in_query = extra.get("source"), extra.get("sent_in") == "query"
        if source == "credential" and isinstance(value, str):
            self.written[path] = secrets.Written(value, is_secret=False, is_in_query=is_in_query)
            return value
        if source == "secret" and isinstance(value, str | dict):
            _check_form(value, path)
            if not sections.reads(self._process, path):
                return sections.UNREAD
            # Newlines at the end of a secret come from editors and `echo`.
            text = self._secret(value, path)
            variable = str(value.get("env", "")) if isinstance(value, dict) else ""
            self.written[path] = secrets.Written(text, variable, is_in_query=is_in_query)
            return text.rstrip("\r\n")
        if source == "column" and isinstance(value, dict):
            return self._column(value, path)
        if isinstance(kind, inspect.StructType) and isinstance(value, dict):
            fields = {field.encode_name: field.type for field in kind.fields}
            for key in value:
                if key not in fields:
                    raise ConfigError(f"{_join(path, key)}: unknown key; known: {', '.join(fields)}")
            return {key: self._resolve(item, fields[key], _join(path, key), {}) for key, item in value.items()}
        if isinstance(kind, inspect.DictType) and isinstance(value, dict):
            return {key: self._resolve(item, kind.value_type, _join(path, key), {}) for key, item in value.items()}
        if isinstance(kind, inspect.ListType) and isinstance(value, list):
            return [self._resolve(item, kind.item_type, f"{path}[{n}]", {}) for n, item in enumerate(value)]
        return value

    def _secret(self, value: str | dict[str, object], path: str) -> str:
        if isinstance(value, str):
            return value
        if list(value) == ["env"]:
            text = os.environ.get(str(value["env"]))
            if text is None or not text.rstrip("\r\n"):
                state = "not set" if text is None else "empty"
                raise ConfigError(f"{path}: the environment variable {value['env']} is {state}")
            return text
        file = self._base / str(value["file"])
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {file} can't be read: {getattr(error, 'strerror', 'not UTF-8')}") from None
        if not text.rstrip("\r\n"):
            raise ConfigError(f"{path}: {file} is empty")
        return text

    def _column(self, value: dict[str, object], path: str) -> list[str]:
        name = path.rsplit(".", 1)[-1]
        if list(value) != ["file"]:
            raise ConfigError(f'{path}: write a list, or {{ file = "{name}.csv" }}')
        file = self._base / str(value["file"])
        try:
            return columns.read(file, name.removesuffix("s"))
        except OSError as error:
            raise ConfigError(f"{path}: {file} can't be read: {error.strerror or error}") from None
        except columns.ColumnError as error:
            raise ConfigError(f"{path}: {file}: {error}") from None


def _check_form(secret: str | dict[str, object], path: str) -> None:
    """Raise ConfigError for a secret that is written in none of the three forms."""
    if isinstance(secret, dict) and list(secret) not in (["env"], ["file"]):
        raise ConfigError(f'{path}: write the secret as "text", {{ env = "NAME" }} or {{ file = "path" }}')


def _chosen(value: object, union: inspect.UnionType) -> inspect.Type:
    """Return the member of a union that `value` is meant for, by its kind; a table is meant for a marked member."""
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


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
