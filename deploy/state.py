"""The state folder of `crossdock up`, in which commands find a running one."""

import os
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT = ".crossdock"
SHARDS_FILE = "shards"
"""File of the state folder: the number of store queues that `up` has declared."""
KEY_FILE = "encryption.key"
"""File of the state folder: the key that `up` generated, where CROSSDOCK_ENCRYPTION_KEY is not set."""

TOKEN_FILE = "console.token"  # noqa: S105 - the name of a file
"""File of the state folder: the token of the operator that `up` makes if none is configured."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """What a running `up` has written about itself; empty if none is running."""

    ingress: str = ""
    """The base URL of the ingress."""
    api: str = ""
    """The base URL of the API."""
    console: str = ""
    """The base URL of the console."""
    amqp: str = ""
    postgres: str = ""
    admin: dict[str, str] = field(default_factory=dict)
    """URL of health checks and metrics by process name."""
    pids: dict[str, int] = field(default_factory=dict)


def folder(given: Path | None) -> Path:
    """Return the state folder: `--state`, else CROSSDOCK_STATE, else ./.crossdock."""
    return given or Path(os.environ.get("CROSSDOCK_STATE") or DEFAULT)


def read_endpoints(given: Path | None) -> Endpoints:
    """Return the endpoints of the `up` that runs on a state folder."""
    import msgspec  # here, because every command imports this module

    try:
        return msgspec.json.decode((folder(given) / "endpoints.json").read_bytes(), type=Endpoints)
    except (OSError, msgspec.DecodeError):
        return Endpoints()


def read_shards(given: Path | None) -> int:
    """Return the number of store queues that `up` has declared on a state folder; 1 if there is none."""
    try:
        return int((folder(given) / SHARDS_FILE).read_text(errors="replace"))
    except (OSError, ValueError):
        return 1
