"""Sessions and log-ins under attack: guesses, links, proxies, clocks, reloads."""

import asyncio
from unittest.mock import ANY

import asyncpg
import msgspec
import pytest

from ingress import logins
from ingress.console import session
from ingress.console.session import COOKIE, SECURE_COOKIE, make_link
from schemas.config import Config, Operator
from tests.support.console import ACT, READ, TOKENS, Answer, Client, config, console
from tests.support.receiver import VAULT

HOSTILE = (
    "https://evil.example/", "//evil.example", "/\\evil.example", "/console/../x", "/console/%2e%2e/x", "/console/..",
    "/console\\..\\x", "/consoles", "/console@evil.example", "javascript:alert(1)", "/console/\r\nSet-Cookie: a=b",
    "/console/\tx", "console", "",  "/console/\u202ex", "/CONSOLE/x", "/console/./x",
)  # fmt: skip


def behind(**operators: Operator) -> Config:
    """A console behind a proxy on this machine, which logs people in."""
    return with_console(config(), operators=operators, trusted_proxies=["127.0.0.1"], user_header="X-Forwarded-User")


def with_console(base: Config, *, operators: dict[str, Operator] | None = None, **settings: object) -> Config:
    changed = msgspec.structs.replace(base, console=msgspec.structs.replace(base.console, **settings))
    return changed if not operators else msgspec.structs.replace(changed, operators={**base.operators, **operators})


async def token(client: Client, value: str, **headers: str) -> Answer:
    form = {"token": value}
    return await client.post("/console/login", form, headers={"Sec-Fetch-Site": "same-origin", **headers})


async def test_guesses_are_slowed_down_per_address_and_hold_no_connection(
    database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "TURN", 2 * logins.LONGEST_WAIT)
    settings = with_console(config(), trusted_proxies=["127.0.0.1"])
    async with console(database_url, settings, who=None) as client:
        guess = {"X-Forwarded-For": "203.0.113.7"}
        for _ in range(logins.FAILURES):
            assert (await token(client, "guess", **guess)).status == 403
        assert (await token(client, "guess", **guess)).status == 429
        answer = await token(client, TOKENS[ACT], **guess)
        assert (answer.status, answer.headers["Retry-After"]) == (429, ANY)
        assert "Set-Cookie" not in answer.headers
        assert 1 <= int(answer.headers["Retry-After"]) <= 2 * logins.LONGEST_WAIT
        # The left end of the header is what the client itself has sent, and does not make it another client.
        assert (await token(client, "guess", **{"X-Forwarded-For": "198.51.100.1, 203.0.113.7"})).status == 429
        assert (await token(client, TOKENS[ACT], **{"X-Forwarded-For": "198.51.100.1"})).status == 303
    recorded = await database.fetch("SELECT operator, outcome FROM crossdock.actions WHERE action = 'log-in'")
    assert [tuple(row) for row in recorded] == [(ACT, "done")]


async def test_log_ins_that_wait_hold_no_connection(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, goes_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait(_: logins.LoginLimiter, __: logins.Pair) -> bool:
        waiting.release()
        await goes_on.wait()
        return True

    async with console(database_url) as client:
        monkeypatch.setattr(logins.LoginLimiter, "wait_for_turn", wait)
        guesses = [asyncio.create_task(token(client, "guess")) for _ in range(10)]
        for _ in guesses:
            await waiting.acquire()
        assert (await asyncio.wait_for(client.get("/console/actions"), 5)).status == 200
        goes_on.set()
        assert {answer.status for answer in await asyncio.gather(*guesses)} == {429}


async def test_a_link_is_used_once_also_by_two_processes_at_once(
    database_url: str, database: asyncpg.Connection
) -> None:
    async with console(database_url, who=None) as client, console(database_url, who=None) as other:
        for _ in range(5):
            link = f"/console/login?once={make_link(VAULT, ACT)}"
            async with client.session.head(client.base + link, allow_redirects=False) as head:
                assert "Set-Cookie" not in head.headers
            answers = await asyncio.gather(client.get(link), other.get(link))
            assert sorted(answer.status for answer in answers) == [303, 403]
            (refused,) = [answer for answer in answers if answer.status == 403]
            assert "Set-Cookie" not in refused.headers
            assert link.partition("=")[2] not in refused.html
        nobody = make_link(VAULT, "carl")
        assert (await client.get(f"/console/login?once={nobody}")).status == 403
        for text in ("", "x", "\u00e9", "A" * 5000, make_link(VAULT, ACT)[:-2]):
            assert (await client.get(f"/console/login?once={text}")).status == 403
    assert await database.fetchval("SELECT count(*) FROM crossdock.actions WHERE action = 'log-in'") == 5
    assert await database.fetchval("SELECT count(*) FROM crossdock.login_links") == 5


async def test_the_log_in_leads_nowhere_else(database_url: str) -> None:
    async with console(database_url, who=None) as client:
        for target in HOSTILE:
            answer = await client.post("/console/login", {"token": TOKENS[ACT], "next": target})
            assert (answer.status, answer.headers["Location"]) == (303, "/console"), target
        for target in (
            "/console",
            "/console/find?q=m%C3%BC%2F..",
            "/console?a=..",
            "/console/deliveries?status=failed",
        ):
            answer = await client.post("/console/login", {"token": TOKENS[ACT], "next": target})
            assert answer.headers["Location"] == target
        # Who is logged in needs no form.
        assert (await client.get("/console/login?next=/console/actions")).headers["Location"] == "/console/actions"


async def test_a_proxys_header_counts_from_the_proxy_alone(database_url: str, database: asyncpg.Connection) -> None:
    settings = behind(**{"dora@example.com": Operator(role="act")})
    async with console(database_url, settings, who=None) as client:
        for name, shown in ((READ, f"{READ} (read)"), ("dora@example.com", "dora@example.com (act)")):
            answer = await client.get("/console", headers={"X-Forwarded-User": name})
            assert answer.status == 200
            assert shown in answer.text
        for name in ("carl", "", f"{ACT}, {READ}", ACT.upper()):
            assert (await client.get("/console", headers={"X-Forwarded-User": name})).status == 303
        # Two headers: one of them is the client's.
        request = [("X-Forwarded-User", ACT), ("X-Forwarded-User", READ)]
        async with client.session.get(f"{client.base}/console", headers=request, allow_redirects=False) as answer_:
            assert answer_.status == 303
        headers = {"X-Forwarded-User": READ, "Sec-Fetch-Site": "same-origin", "X-Forwarded-For": "203.0.113.9"}
        assert (await client.post("/console/deliveries/cancel", headers=headers)).status == 403
        # No token is configured, so that none, and no empty one, logs in.
        assert (await token(client, "")).status == 403
    assert await database.fetchval("SELECT operator || ' ' || address FROM crossdock.actions") == f"{READ} 203.0.113.9"
    elsewhere = with_console(settings, trusted_proxies=["10.9.9.9", "::1"])
    async with console(database_url, elsewhere, who=None) as client:
        headers = {"X-Forwarded-User": ACT, "X-Forwarded-For": "10.9.9.9"}
        assert (await client.get("/console", headers=headers)).status == 303
        assert (await client.get("/console", headers={**headers, "Forwarded": "for=10.9.9.9"})).status == 303


async def test_over_https_the_cookie_is_bound_to_the_host(database_url: str) -> None:
    https = {"X-Forwarded-Proto": "https"}
    async with console(database_url, with_console(config(), trusted_proxies=["127.0.0.1"]), who=None) as client:
        given = (await token(client, TOKENS[ACT], **https)).headers["Set-Cookie"]
        parts = {part.strip().lower() for part in given.split(";")[1:]}
        assert given.startswith(f"{SECURE_COOKIE}=")
        assert parts == {"httponly", "secure", "samesite=strict", "path=/"}
        sealed = given.partition(";")[0].partition("=")[2]
        client.session.cookie_jar.clear()
        as_https = {**https, "Cookie": f"{SECURE_COOKIE}={sealed}"}
        assert (await client.get("/console", headers=as_https)).status == 200
        # A cookie without the prefix can be planted by another port or over HTTP.
        assert (await client.get("/console", headers={**https, "Cookie": f"{COOKIE}={sealed}"})).status == 303
        gone = await client.post("/console/logout", headers={**as_https, "Sec-Fetch-Site": "same-origin"})
        assert gone.headers["Set-Cookie"].startswith(f'{SECURE_COOKIE}=""; ')
        assert "Max-Age=0" in gone.headers["Set-Cookie"]
    async with console(database_url, who=None) as client:  # anybody may send the header; nobody is trusted
        given = (await token(client, TOKENS[ACT], **https)).headers["Set-Cookie"]
        assert given.startswith(f"{COOKIE}=")
        assert "secure" not in given.lower()


async def test_sessions_and_links_end(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(database_url, who=None) as client:
        for lifetime, status in ((5.0, 200), (-0.01, 303)):
            monkeypatch.setattr(session, "LIFETIME", lifetime)
            await client.log_in(ACT)
            assert (await client.get("/console")).status == status
        monkeypatch.setattr(session, "LINK_LIFETIME", -0.01)
        assert (await client.get(f"/console/login?once={make_link(VAULT, ACT)}")).status == 403


async def test_a_reload_ends_sessions_whose_token_changed_and_changes_roles_at_once(database_url: str) -> None:
    settings = config()
    async with console(database_url, settings) as client:
        await client.log_in(ACT)
        lesser = {**settings.operators, ACT: Operator(token=TOKENS[ACT], role="read")}
        client.app.reload(msgspec.structs.replace(settings, operators=lesser))
        assert f"{ACT} (read)" in (await client.get("/console")).text
        assert (await client.post("/console/deliveries/cancel")).status == 403
        changed = {**settings.operators, ACT: Operator(token="another-token-for-tests", role="act")}
        client.app.reload(msgspec.structs.replace(settings, operators=changed))
        assert (await client.get("/console")).status == 303
        client.app.reload(settings)
        assert (await client.get("/console")).status == 200
        others = {name: operator for name, operator in settings.operators.items() if name != ACT}
        client.app.reload(msgspec.structs.replace(settings, operators=others))
        assert (await client.get("/console")).status == 303


async def test_a_link_on_another_site_keeps_the_session(database_url: str) -> None:
    """Browsers leave out the cookie then, and in redirects that follow; a page that leads on makes them send it."""
    async with console(database_url, who=None) as client:
        answer = await client.get("/console/actions?operator=%22%3E", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status == 200
        target = "/console/login?next=/console/actions%3Foperator%3D%2522%253E"
        assert f'<meta http-equiv="refresh" content="0; url={target}">' in answer.html
        assert (await client.get(target, headers={"Sec-Fetch-Site": "same-origin"})).status == 200
        await client.log_in(READ)
        answer = await client.get(target, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.headers["Location"] == "/console/actions?operator=%22%3E"
