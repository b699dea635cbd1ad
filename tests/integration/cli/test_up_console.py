"""The console as `crossdock up` and `crossdock console` run it."""

import re
import signal
from pathlib import Path

import aiohttp
import pytest

from deploy.cli import main
from deploy.cli.check_local import operator_note, operator_problems
from deploy.config import parse
from storage.vault import Vault
from tests import restarts
from tests.support.pipeline import until

OPERATOR = """
[operators.anna]
token = "{token}"
role = "act"
"""


async def status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url, allow_redirects=False) as answer:
        return answer.status


async def log_in(session: aiohttp.ClientSession, base: str, token: str) -> int:
    headers = {"Sec-Fetch-Site": "same-origin"}
    url = f"{base}/console/login"
    async with session.post(url, data={"token": token}, headers=headers, allow_redirects=False) as answer:
        return answer.status


@pytest.mark.long
async def test_up_prints_a_link_that_logs_in_once_and_a_reload_with_another_token_logs_out(
    tmp_path: Path, amqp_url: str, database_url: str
) -> None:
    state, config = tmp_path / "state", tmp_path / "crossdock.toml"
    config.write_text("# no operator\n")
    env = {"AMQP_URL": amqp_url, "DATABASE_URL": database_url}
    running = await restarts.start(state, env, "--config", str(config))
    try:
        base = running.endpoints["console"]
        *_, link = re.findall(r"^console +(\S+)$", "".join(running.lines), re.MULTILINE)
        assert link.startswith(f"{base}/console/login?once=")
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session, aiohttp.ClientSession() as other:
            assert await status(session, link) == 303
            async with session.get(f"{base}/console") as answer:
                assert "local" in await answer.text()
            assert await status(other, link) == 403
            token = (state / "console.token").read_text().strip()
            assert await log_in(other, base, token) == 303
            log = b"".join(file.read_bytes() for file in (state / "logs").iterdir())
            assert b"/console/login" in log
            assert token.encode() not in log
            assert link.rpartition("=")[2].encode() not in log

            for name in ("the-first-token-of-anna", "the-second-token-of-anna"):
                config.write_text(OPERATOR.format(token=name))
                running.process.send_signal(signal.SIGHUP)
                await until(lambda: _is(session, base, 303), what="the reload has ended the session", seconds=20)
                assert await log_in(session, base, token) == 403
                assert await log_in(session, base, name) == 303
                assert await status(session, f"{base}/console") == 200
    finally:
        assert await running.terminate() == 0


async def _is(session: aiohttp.ClientSession, base: str, expected: int) -> bool:
    return await status(session, f"{base}/console") == expected


def test_without_an_operator_the_console_does_not_start_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/x")
    monkeypatch.setenv("CROSSDOCK_ENCRYPTION_KEY", Vault.generate())
    assert main.main(["console", "--port", "0"]) == 1
    errors = capsys.readouterr().err.strip()
    assert len(errors.splitlines()) == 1
    assert "no operator is configured" in errors
    assert "[operators.NAME]" in errors


def test_check_names_operators_who_cannot_log_in_or_whose_token_can_be_guessed() -> None:
    raw = {
        "api": {"operator_token": "the-same-long-token-twice"},
        "operators": {
            "anna": {"token": "the-same-long-token-twice", "role": "act"},
            "ben": {"token": "short"},
            "carl@example.com": {},
            "dora": {"token": "a-token-that-is-good-enough", "role": "act"},
        },
    }
    loaded = parse(raw, Path())
    same, short, without = sorted(operator_problems(loaded), key=lambda line: line.rpartition("operators.")[2])
    assert "operators.anna and api.operator_token have the same token" in same
    assert "operators.ben.token has fewer than 16 characters" in short
    assert "operators.carl@example.com has no token, and no proxy logs in" in without
    assert "short" not in short
    assert operator_note(loaded) == "3 may act, 2 may only look"
    behind = {"console": {"trusted_proxies": ["10.0.0.5"], "user_header": "X-Forwarded-User"}}
    assert operator_problems(parse({**behind, "operators": {"carl": {}}}, Path())) == []
    assert len(operator_problems(parse({**raw, "operators": {"operator": {"token": "x" * 20}}}, Path()))) == 1
