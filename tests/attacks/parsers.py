"""Every reader of bytes that others send, as a function of bytes that raises only if the reader is faulty."""

import asyncio
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
from multidict import CIMultiDict, MultiDict

from broker import ids
from broker.frames import ChannelHandlers, Reader
from deploy import config
from deploy.config import ConfigError
from ingress.api import cursors
from ingress.api.errors import ProblemError
from schemas import canonical, cloudevents, envelope, patterns, properties, registry, retryafter
from schemas.destinations.guard import BlockedError, Guard
from schemas.platform import Platform
from storage.vault import UndecryptableError, Vault
from tests.contract.checks import account_of
from tests.support.bodies import known
from tests.support.frames import PROPERTIES, stream
from tests.support.readers import every_reader_behaves
from workers.deliver.attempt.connection import Connection
from workers.deliver.attempt.response import CutOffError, NoAnswerError, NotHTTPError

ROOT = Path(__file__).parents[2]
_GUARD = Guard([], False)
_VAULT = Vault.from_text(Vault.generate())
_SEALED = _VAULT.encrypt(b"a secret", b"about")


class Target(NamedTuple):
    """A reader that is attacked."""

    name: str
    seeds: list[bytes]
    """Inputs to mutate: valid ones, or nearly."""
    read: Callable[[bytes], None]
    """Raises or does not return if the reader is faulty."""


def targets() -> Iterator[Target]:
    """Yield every reader of what others send."""
    for platform in registry.platforms().values():
        yield _reading(platform)
        yield _verifying(platform)
    bodies = [raw for _, _, raw in known()]
    encoded = PROPERTIES.marshal()
    stamped = envelope.to_properties(
        envelope.Envelope(message_id="m", platform="p", account="a", event="e", received_at=envelope.now())
    ).marshal()
    event = cloudevents.encode(
        id="i", platform="p", account="a", type="t", key="k", received_at=envelope.now(), version=1,
        traceparent=None, data=b"{}", raw=b"{}",
    )  # fmt: skip
    yield Target("message properties", [encoded, stamped], _properties)
    yield Target("broker frames", [stream()[0]], _frames)
    yield Target("cloudevents", [event], _cloudevent)
    yield Target("canonical JSON", bodies, _canonical)
    yield Target(
        "Retry-After", [b"120", b"Sat, 21 Nov 2026 11:00:00 GMT", b"Sun, 06 Nov 94 08:49:37 +9999"], _retry_after
    )
    yield Target("patterns", [b"channelape.receipt|channelape.*", b"aaaa|*a*a*", b"a|a"], _patterns)
    yield Target("configuration", [(ROOT / "crossdock.toml").read_bytes(), *_configurations()], _configuration)
    yield Target("subscribers' answers", _answers(), _answer)
    yield Target("subscribers' URLs", [b"https://a.example:8443/in?x=%20", b"http://[::1]/", b"https://0x7f.1/"], _url)
    yield Target("cursors", [cursors.encode(envelope.now(), UUID(int=1)).encode()], _cursor)
    yield Target("traceparent", [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], _traceparent)
    yield Target("sealed secrets", [_SEALED], _sealed)


def _reading(platform: Platform) -> Target:
    events = platform.events

    def read(data: bytes) -> None:
        every_reader_behaves(platform, events[len(data) % len(events)], data)

    return Target(f"{platform.name}: bodies", [raw for owner, _, raw in known() if owner is platform], read)


def _verifying(platform: Platform) -> Target:
    """Return a target whose inputs are a line with the credential, and the body; only signed ones may be accepted."""
    account = account_of(platform)
    raw = known()[0][2]
    signed = platform.sign(raw, account)
    [(name, right)] = [*signed.headers.items(), *signed.query.items()]
    seeds = [right.encode() + b"\n" + raw, right.encode() + b"\n{}", b"\n"]

    def verify(data: bytes) -> None:
        line, _, body = data.partition(b"\n")
        credential = line.decode("utf-8", "surrogateescape")
        headers = CIMultiDict({name: credential} if signed.headers else {})
        query = MultiDict({name: credential} if signed.query else {})
        fitted = platform.verify(body, headers, query, account)
        if fitted is not None:
            again = platform.sign(body, account)
            [now] = [*again.headers.values(), *again.query.values()]
            assert fitted in platform.secrets(account)
            # The blanks between a scheme and its credentials do not count (RFC 9110 §11.4).
            one_blank = re.sub("^([^ ]+) +", r"\1 ", credential.strip())
            assert one_blank.lower() == now.lower() or credential == right, "accepted what was not signed"

    return Target(f"{platform.name}: signatures", seeds, verify)


def _properties(data: bytes) -> None:
    with suppress(ValueError):
        message = properties.read(data)
        assert isinstance(message.headers, dict)
    assert _envelope(lambda: envelope.from_properties(data)) == _envelope(lambda: envelope.of(properties.read(data)))


def _envelope(read: Callable[[], envelope.Envelope]) -> envelope.Envelope | None:
    with suppress(ValueError):
        return read()
    return None


def _frames(data: bytes) -> None:
    """Feed the data in two pieces: other frames are passed on, and the reader does not wait for data that have come."""
    reader = Reader(_loop())
    reader.listen(1, ChannelHandlers(lambda *_: None, lambda *_: None, lambda *_: None))
    reader.feed_data(data[: len(data) // 2])
    reader.feed_data(data[len(data) // 2 :])


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return a loop for all inputs, because creating it costs more than most readings."""
    return asyncio.new_event_loop()


def _cloudevent(data: bytes) -> None:
    with suppress(msgspec.DecodeError):
        cloudevents.decode(data)


def _canonical(data: bytes) -> None:
    digest = canonical.digest(data)
    assert len(digest) == canonical.DIGEST_BYTES
    with suppress(canonical.NotJSONError):
        assert canonical.form(data).digest == digest


def _retry_after(data: bytes) -> None:
    seconds = retryafter.seconds(data.decode("latin-1"), 1_800_000_000.0)
    assert seconds is None or abs(seconds) < 1e12


def _patterns(data: bytes) -> None:
    name, *texts = data.decode("latin-1").split("|")
    fitted = patterns.fits(name, texts)
    assert fitted == any(patterns.fits(name, [text]) for text in texts)
    assert patterns.fits(name, [name, *texts])


def _configurations() -> list[bytes]:
    text = (ROOT / "crossdock.toml").read_text()
    return ["".join(line.removeprefix("# ") for line in text.splitlines(keepends=True) if "= {" not in line).encode()]


def _configuration(data: bytes) -> None:
    try:
        raw = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return
    with suppress(ConfigError):
        config.parse(raw, Path("/nowhere"))


def _answers() -> list[bytes]:
    return [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.0 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nxx",
        b"HTTP/1.1 410 Gone\r\nContent-Length: 9999\r\n\r\n" + b"x" * 9999,
    ]


class _Wire(asyncio.Transport):
    """A transport that discards what is written."""

    closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def _answer(data: bytes) -> None:
    async def post() -> None:
        connection = Connection()
        connection.connection_made(_Wire())
        posting = asyncio.ensure_future(connection.post(b"POST / HTTP/1.1\r\n\r\n", b""))
        await asyncio.sleep(0)
        connection.data_received(data[: len(data) // 2])
        connection.data_received(data[len(data) // 2 :])
        connection.eof_received()
        connection.connection_lost(None)
        try:
            answer = await posting
        except (NoAnswerError, CutOffError, NotHTTPError):
            return
        assert 100 <= answer.status <= 999
        assert len(answer.body) <= 4096

    _loop().run_until_complete(post())


def _url(data: bytes) -> None:
    with suppress(BlockedError):
        target = _GUARD.target(data.decode("utf-8", "surrogateescape"))
        assert target.scheme == "https"
        assert "\r" not in target.resource()
        assert "\n" not in target.resource()


def _cursor(data: bytes) -> None:
    with suppress(ProblemError):
        cursors.decode(data.decode("latin-1"))
    with suppress(ProblemError):
        cursors.limit(data.decode("latin-1"))


def _traceparent(data: bytes) -> None:
    text = data.decode("latin-1")
    assert len(ids.traceparent(text)) == 55


def _sealed(data: bytes) -> None:
    with suppress(UndecryptableError):
        assert _VAULT.decrypt(data, b"about") == b"a secret"
        assert data == _SEALED


def by_name(name: str) -> Target:
    """Return the target of this name. Raises LookupError."""
    return {target.name: target for target in targets()}[name]
