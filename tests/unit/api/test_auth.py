"""Log-ins: right credentials always work, guessing is slowed down, and the client's address is not made up."""

import base64
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from ingress import logins
from ingress.api.auth import Authenticator
from ingress.api.errors import ProblemError
from ingress.proxies import Proxies
from schemas.config import Config
from tests.support import pipeline

TOKEN = "the-operators-token"
PROXY, CLIENT, STRANGER = "10.0.0.1", "192.0.2.1", "192.0.2.66"


class Clock:
    """Stands still until a wait moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def config(**api: Any) -> Config:
    subscriber = {"username": "boards", "password": "right", "accounts": ["*"]}
    other = {"username": "other", "password": "0ther", "accounts": ["*"]}
    return pipeline.config(
        {"api": {"operator_token": TOKEN, **api}, "subscribers": {"boards": subscriber, "other": other}}
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # Only the module's own view of asyncio: the heartbeat of every test sleeps, too, and would never yield.
    monkeypatch.setattr("ingress.logins.asyncio", SimpleNamespace(sleep=clock.sleep))
    return clock


def request(name: str, password: str, *, remote: str | None = CLIENT, **headers: str) -> Any:
    sent = CIMultiDict({"Username": name, "Password": password, **{k.replace("_", "-"): v for k, v in headers.items()}})
    return SimpleNamespace(headers=sent, remote=remote)


def bearer(token: str, remote: str = CLIENT) -> Any:
    return SimpleNamespace(headers=CIMultiDict({"Authorization": f"Bearer {token}"}), remote=remote)


async def attempt(doorman: Authenticator, request: Any) -> int:
    try:
        await doorman.authenticate(request)
    except ProblemError as problem:
        return problem.status
    return 200


async def test_right_credentials_work_after_any_number_of_wrong_ones(clock: Clock) -> None:
    doorman = Authenticator(config(), clock=lambda: clock.now)
    wrong = [await attempt(doorman, request("boards", "guess")) for _ in range(40)]
    assert wrong == [401] * 10 + [429] * 30
    assert await attempt(doorman, request("boards", "right")) == 200
    assert max(clock.waits) <= 1.0


async def test_only_the_guessed_name_from_the_guessing_address_waits(clock: Clock) -> None:
    doorman = Authenticator(config(), clock=lambda: clock.now)
    for _ in range(10):
        assert await attempt(doorman, request("boards", "guess")) == 401
    assert await attempt(doorman, request("other", "0ther")) == 200
    assert await attempt(doorman, bearer(TOKEN)) == 200
    assert await attempt(doorman, request("boards", "right", remote=STRANGER)) == 200
    assert clock.waits == []


async def test_attempts_beyond_the_turns_are_refused_unread(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_time_passes(seconds: float) -> None:
        clock.waits.append(seconds)

    doorman = Authenticator(config(), clock=lambda: clock.now)
    for _ in range(10):
        await attempt(doorman, request("boards", "guess"))
    monkeypatch.setattr(logins, "asyncio", SimpleNamespace(sleep=no_time_passes))
    statuses = [await attempt(doorman, request("boards", "guess")) for _ in range(50)]
    assert set(statuses) == {429}
    assert clock.waits == [float(n) for n in range(11)]
    with pytest.raises(ProblemError) as refused:
        await doorman.authenticate(request("boards", "right"))
    assert refused.value.status == 429
    assert refused.value.headers["Retry-After"] == "11"


async def test_guessing_a_token_is_slowed_down(clock: Clock) -> None:
    doorman = Authenticator(config(), clock=lambda: clock.now)
    assert [await attempt(doorman, bearer(f"guess {n}")) for n in range(12)] == [401] * 10 + [429] * 2
    assert await attempt(doorman, bearer(TOKEN)) == 200


async def test_guessing_from_many_addresses_is_slowed_down_where_the_name_never_logged_in(clock: Clock) -> None:
    doorman = Authenticator(config(), clock=lambda: clock.now)
    assert await attempt(doorman, request("boards", "right", remote=CLIENT)) == 200
    statuses = [await attempt(doorman, request("boards", "guess", remote=f"198.51.100.{n}")) for n in range(110)]
    assert statuses == [401] * 100 + [429] * 10
    clock.waits.clear()
    assert await attempt(doorman, request("boards", "right", remote=CLIENT)) == 200
    assert clock.waits == []
    assert await attempt(doorman, request("boards", "right", remote="203.0.113.9")) == 200


async def test_one_ipv6_network_is_one_client(clock: Clock) -> None:
    doorman = Authenticator(config(), clock=lambda: clock.now)
    statuses = [await attempt(doorman, request("boards", "guess", remote=f"2001:db8::{n:x}")) for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert await attempt(doorman, request("boards", "guess", remote="2001:db8:0:1::1")) == 401


async def test_failures_are_forgotten_after_their_time_and_memory_is_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "REMEMBERED", 50)
    doorman = Authenticator(config(), clock=lambda: clock.now)
    for _ in range(10):
        await attempt(doorman, request("boards", "guess"))
    clock.now += logins.WINDOW + 1
    assert await attempt(doorman, request("boards", "guess")) == 401
    for n in range(200):
        await attempt(doorman, request("n" * 5000 + str(n), "guess", remote=f"198.51.100.{n}"))
        await attempt(doorman, request("boards", "right", remote=f"203.0.113.{n}"))
    assert len(doorman._limiter._failed) <= 50
    assert len(doorman._limiter._known) <= 50
    assert max(len(name) for _, name in doorman._limiter._failed) <= logins.NAME_BYTES


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_credentials_that_are_not_text_are_wrong_ones(scheme: str) -> None:
    """The server hands on bytes that are not UTF-8 as lone surrogates."""
    doorman = Authenticator(config())
    headers = CIMultiDict({"Authorization": f"{scheme} {TOKEN}\udc80"})
    log_in: Any = SimpleNamespace(headers=headers, remote="::1")
    with pytest.raises(ProblemError) as refused:
        await doorman.authenticate(log_in)
    assert refused.value.status == 401


@pytest.mark.parametrize("password", ["", "right ", "Right", "righ"])
async def test_a_nearly_right_password_is_refused(password: str) -> None:
    doorman = Authenticator(config())
    encoded = base64.b64encode(f"boards:{password}".encode()).decode()
    log_in: Any = SimpleNamespace(headers=CIMultiDict({"Authorization": f"Basic {encoded}"}), remote=None)
    assert await attempt(doorman, log_in) == 401


@pytest.mark.parametrize(
    ("trusted", "remote", "header", "client"),
    [
        ([], PROXY, "192.0.2.9", PROXY),  # nobody is believed by default
        ([PROXY], CLIENT, "192.0.2.9", CLIENT),  # a client that writes the header itself
        ([PROXY], PROXY, "192.0.2.9", "192.0.2.9"),
        ([PROXY], PROXY, "1.2.3.4, 192.0.2.9", "192.0.2.9"),  # what a client wrote stands to the left
        (["10.0.0.0/8"], PROXY, "192.0.2.9, 10.7.7.7", "192.0.2.9"),  # two proxies
        (["10.0.0.0/8"], PROXY, "10.1.1.1, 10.7.7.7", "10.1.1.1"),  # a client among the proxies
        ([PROXY], PROXY, None, PROXY),
        ([PROXY], PROXY, "", PROXY),
        ([PROXY], PROXY, "unknown, nonsense", PROXY),
        (["10.0.0.0/8"], PROXY, "192.0.2.9, _hidden, 10.7.7.7", "10.7.7.7"),
        ([PROXY], PROXY, "192.0.2.9:4711", "192.0.2.9"),
        (["::1"], "::1", "[2001:db8::9]:4711", "2001:db8::9"),
        ([PROXY], f"::ffff:{PROXY}", "192.0.2.9", "192.0.2.9"),
        ([PROXY], PROXY, "1.1.1.1," * 5000 + "192.0.2.9", "192.0.2.9"),
        ([PROXY], None, "192.0.2.9", ""),
    ],
)
def test_the_clients_address_is_taken_from_trusted_proxies_only(
    trusted: list[str], remote: str | None, header: str | None, client: str
) -> None:
    headers = CIMultiDict({} if header is None else {"X-Forwarded-For": header})
    log_in: Any = SimpleNamespace(headers=headers, remote=remote)
    assert Proxies(trusted).client(log_in) == client


def test_several_header_lines_are_one_list() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "192.0.2.9")])
    log_in: Any = SimpleNamespace(headers=headers, remote=PROXY)
    assert Proxies([PROXY]).client(log_in) == "192.0.2.9"


async def test_behind_a_trusted_proxy_each_client_is_its_own(clock: Clock) -> None:
    doorman = Authenticator(config(trusted_proxies=[PROXY]), clock=lambda: clock.now)
    for _ in range(10):
        await attempt(doorman, request("boards", "guess", remote=PROXY, X_Forwarded_For=STRANGER))
    assert await attempt(doorman, request("boards", "right", remote=PROXY, X_Forwarded_For=CLIENT)) == 200
    assert clock.waits == []
    for n in range(12):  # a name made up in the header does not help the stranger
        await attempt(doorman, request("boards", "guess", remote=PROXY, X_Forwarded_For=f"1.2.3.{n}, {STRANGER}"))
    assert clock.waits
