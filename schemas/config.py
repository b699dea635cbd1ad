"""The Structs of `crossdock.toml` (contract §2). Reading files and the environment is done by `deploy.config`.

Every field has the default that the commented defaults file shows; a test holds the two together.
"""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

Secret = Annotated[str, msgspec.Meta(min_length=1, extra={"source": "secret"})]
"""A text, or `{ env = "NAME" }`, or `{ file = "path" }`, without trailing newlines. Resolved when loading."""
QuerySecret = Annotated[str, msgspec.Meta(min_length=1, extra={"source": "secret", "sent_in": "query"})]
"""A secret that its sender adds to the URL."""
Credential = Annotated[str, msgspec.Meta(extra={"source": "credential"})]
"""A text that both sides must have alike, and that may be shown."""
QueryKey = Annotated[str, msgspec.Meta(min_length=1, extra={"source": "credential", "sent_in": "query"})]
"""A credential that its sender adds to the URL."""
Column = Annotated[list[str], msgspec.Meta(extra={"source": "column"})]
"""A list, or `{ file = "x.csv" }`: the first column of a CSV file, except a header that is the setting's singular."""
_NAME, _PERSON, _AGE, _LEVEL, _ENDPOINT, _HEADER = (
    r"^[A-Za-z0-9_-]{1,64}$",
    r"^[A-Za-z0-9@._+-]{1,64}$",
    r"^[1-9][0-9]{0,5}[YMDhms]$",
    "^(debug|info|warning|error)$",
    r"^https?://[^@?#]+$",
    r"^[A-Za-z0-9-]{1,64}$",
)
FORMATS = {
    _NAME: "of at most 64 letters, digits, - and _",
    _PERSON: "of at most 64 letters, digits, @ . _ + and -",
    _AGE: "a number and one of Y, M, D, h, m, s (years, months, days, hours, minutes, seconds), such as 7D",
    _LEVEL: "debug, info, warning or error",
    _HEADER: "the name of a header, of at most 64 letters, digits and -",
    _ENDPOINT: "a URL with http:// or https://, without credentials, query and fragment",
}
"""What the texts of a pattern look like, for those who write one that does not match."""
Name = Annotated[str, msgspec.Meta(pattern=_NAME)]
Person = Annotated[str, msgspec.Meta(pattern=_PERSON)]
"""The name of an operator, which may be an e-mail address, as proxies send it."""
"""Part of a routing key, so no dots, stars or hashes."""
LONGEST_TIMEOUT_SECONDS = 86_400
LONGEST_DELAY_SECONDS = 2_592_000
"""Thirty days; the next attempt of a much longer delay would be after the last date that can be stored."""
Seconds = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_TIMEOUT_SECONDS)]
"""A time limit. `inf` is none, because what waits for ever holds its connection and is never tried again."""
Interval = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_DELAY_SECONDS)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY_SECONDS)]
Days = Annotated[int, msgspec.Meta(ge=1, le=365_000)]
"""A thousand years at most: the calendar ends at the year 1."""
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

_UNITS = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


MAX_SIZE = 2**63 - 1
"""The largest number of bytes that PostgreSQL and RabbitMQ can count."""


_SIZE_EXAMPLES = 'write bytes or a unit, as in "4MiB", "512KiB" or 1048576'


def parse_size(text: str | int) -> int:
    """Return the bytes of a size such as `"1MiB"`, `"64 kB"` or 1048576. Raises ValueError with examples."""
    if isinstance(text, int):
        size = text
    else:
        match = re.fullmatch(r"\s*(\d{1,30})\s*([A-Za-z]*)\s*", text)
        if match is None or (match[2].upper() or "B") not in _UNITS:
            raise ValueError(f"{text[:40]!r} is not a size; {_SIZE_EXAMPLES}")
        size = int(match[1]) * _UNITS[match[2].upper() or "B"]
    if size < 0:
        raise ValueError(f"{size} is below 0; {_SIZE_EXAMPLES}")
    if size > MAX_SIZE:
        raise ValueError(f"it is too large; write at most {MAX_SIZE} bytes")
    return size


def parse_body_size(text: str | int) -> int:
    """Return the bytes of a size that is a limit of bodies. Raises ValueError also for 0, which would refuse all."""
    size = parse_size(text)
    if size == 0:
        raise ValueError(f'0 would refuse every webhook, and does not mean "no limit"; {_SIZE_EXAMPLES}')
    return size


def listen_host(text: str) -> str:
    """Return an address or a name to listen on: without brackets, and `::` for `*`. Raises ValueError with advice."""
    host = text.strip()
    if host == "*":
        return "::"
    if not host:
        raise ValueError("host is empty; write 127.0.0.1 for this machine only, or :: for every address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return host
    if "://" in host:
        raise ValueError(f"host {text!r} is a URL; write it without the scheme, as in 127.0.0.1")
    if "/" in host:
        raise ValueError(f"host {text!r} is not a network to listen on; write one address of this machine")
    if re.fullmatch(r"([^:\[\]]+|\[[^\[\]]+\]):\d+", host):
        raise ValueError(f"host {text!r} has a port; write only the host, because `port` is a setting of its own")
    if not re.fullmatch(r"[^\W_]([\w.-]*\w)?\.?", host) or not re.search(r"[^\d.]", host):
        raise ValueError(f"host {text!r} is neither an address nor a name of this machine")
    return host


def check_base_url(url: str, setting: str, example: str) -> None:
    """Raise ValueError for a text that paths cannot be added to as to a URL, without repeating it: it may be secret."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, or unbalanced brackets
        fits = False
    if not fits or any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"`{setting}` is not an absolute http or https URL; write it like {example}")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError(f"`{setting}` has only scheme, host, port and path; credentials do not belong into it")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Ingress(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str | Annotated[list[str], msgspec.Meta(min_length=1)] = "127.0.0.1"
    """An address or a list of addresses; "::" stands for all addresses of IPv6 and of IPv4."""
    port: Port = 8080
    max_body: str | int = "4MiB"
    """The largest document that a platform documents: ChannelApe's 5,000 fulfilments take 2 to 3 MB."""
    max_buffered: str | int = "256MiB"
    """Maximum size of all bodies in one process that are arriving or wait for a confirm; above it 503."""
    keepalive: Seconds = 75.0
    """Seconds that an idle connection is kept open; it must be longer than the load balancer's."""
    header_timeout: Seconds = 10.0
    """Seconds from a request's first byte to the end of its head before 408."""
    body_timeout: Seconds = 10.0
    write_timeout: Seconds = 10.0
    """Seconds to wait for a client to read its answer before the connection is closed."""
    confirm_timeout: Seconds = 5.0
    """Seconds to wait for the broker's confirm before 503."""
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    account_in_flight: Limit = 0
    """Maximum authentic requests of one account under way in one process; 0: no limit."""
    shared_in_flight: Limit = 0
    """Maximum of all accounts; above it, accounts with an equal share or more are refused; 0: no limit."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1

    def __post_init__(self) -> None:
        host = listen_host(self.host) if isinstance(self.host, str) else [listen_host(entry) for entry in self.host]
        msgspec.structs.force_setattr(self, "host", host)

    @property
    def hosts(self) -> list[str]:
        """Return every address to listen on, each of one family."""
        given = [self.host] if isinstance(self.host, str) else self.host
        both = [*given, "0.0.0.0"] if "::" in given else given  # noqa: S104 - configured so
        return list(dict.fromkeys(both))


class Process(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    drain_timeout: Seconds = 10.0
    """Seconds to finish work under way when a process stops, before connections are closed."""


class Api(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8082
    operator_token: Secret | None = None
    trusted_proxies: list[str] = msgspec.field(default_factory=list)
    """Addresses or networks of proxies whose `X-Forwarded-For` is trusted."""
    public_url: str = ""
    """The API's URL for subscribers, used for references in events; if it is empty, references are relative."""
    max_subscriptions: Count = 100
    """Maximum subscriptions per subscriber, including those of `/basic/webhooks`. The operator has no limit."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "host", listen_host(self.host))
        if self.public_url:
            check_base_url(self.public_url, "public_url", "https://api.example.com")


class Console(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8083
    environment: Annotated[str, msgspec.Meta(max_length=40)] = ""
    """The name in the head of every page, such as `production`, so that nobody acts in the wrong window."""
    trusted_proxies: list[str] = msgspec.field(default_factory=list)
    """Addresses or networks of proxies whose `X-Forwarded-For`, `X-Forwarded-Proto` and `user_header` are trusted."""
    user_header: Annotated[str, msgspec.Meta(pattern=_HEADER)] | None = None
    """Header in which a trusted proxy names the operator whom it has logged in; None: operators log in with a token."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "host", listen_host(self.host))
        if self.user_header is not None and not self.trusted_proxies:
            raise ValueError("`user_header` needs `trusted_proxies`, because anybody else could set that header")


class Operator(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Secret | None = None
    """What the operator logs in with; None: only through a proxy that sends `[console] user_header`."""
    role: Literal["read", "act"] = "read"
    """`act` also changes things: it retries, replays, discards, disables and erases."""


class Admin(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8081

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "host", listen_host(self.host))


MAX_SHARDS = 64


class Store(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prefetch: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 2000
    """Quorum queues allow at most 2,000."""
    batch: Count = 300
    batch_wait: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.005
    """Maximum seconds to wait for a batch to fill; all messages of a batch that does not fill wait as long."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    """PostgreSQL connections per process for storing; jobs beside it (erasures, transfers) use up to three more."""
    shards: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARDS)] = 1
    """Store queues over which the ingress distributes messages, if the leader of one queue is the bottleneck."""


class Route(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prefetch: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 100


class Subscriber(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    username: Annotated[Credential, msgspec.Meta(min_length=1)]
    password: Secret
    accounts: list[str]


class Delivery(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    timeout: Seconds = 15.0
    schedule: list[Delay] = msgspec.field(
        default_factory=lambda: [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    )
    channelape_interval: Interval = 900.0
    allow_networks: list[str] = []
    allow_http: bool = False


class Storage(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    retention_days: Days = 400
    body_days: Days | None = None
    """Days after which the content of a message is erased (contract §11); None: as `retention_days`."""


class Events(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    log_max_age: Annotated[str, msgspec.Meta(pattern=_AGE)] = "7D"
    """RabbitMQ's notation: years, months, days, hours, minutes or seconds."""
    log_max_bytes: str | int = 0
    """Maximum size of the log; 0: limited only by age."""

    def __post_init__(self) -> None:
        parse_size(self.log_max_bytes)


class Log(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: Annotated[str, msgspec.Meta(pattern=_LEVEL)] = "info"


class Telemetry(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    otlp_endpoint: Annotated[str, msgspec.Meta(pattern=_ENDPOINT)] | None = None
    """Base URL of a collector for OTLP over HTTP, without credentials, because it is logged; None: no tracing."""
    sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Fraction of the traces that begin here; a sender's trace is kept according to its own sampling flag."""

    def __post_init__(self) -> None:
        if self.otlp_endpoint is not None:
            check_base_url(self.otlp_endpoint, "otlp_endpoint", "http://127.0.0.1:4318")


class Config(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A complete configuration. `accounts[platform][account]` is an instance of that platform's own Struct."""

    ingress: Ingress = msgspec.field(default_factory=Ingress)
    process: Process = Process()
    api: Api = msgspec.field(default_factory=Api)
    console: Console = msgspec.field(default_factory=Console)
    operators: dict[Person, Operator] = {}
    admin: Admin = msgspec.field(default_factory=Admin)
    store: Store = msgspec.field(default_factory=Store)
    route: Route = msgspec.field(default_factory=Route)
    accounts: dict[str, dict[Name, Any]] = {}
    subscribers: dict[Name, Subscriber] = {}
    delivery: Delivery = msgspec.field(default_factory=Delivery)
    storage: Storage = msgspec.field(default_factory=Storage)
    events: Events = Events()
    log: Log = msgspec.field(default_factory=Log)
    telemetry: Telemetry = Telemetry()
