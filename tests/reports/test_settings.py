"""Secrets as `docker --env-file`, editors and copied documentation leave them: `crossdock check` names them."""

from pathlib import Path
from typing import Any

import pytest

from deploy import config
from deploy.cli import check
from deploy.cli.check_local import Finding

FIELDS = """
[api]
operator_token = {operator_token}
[accounts.apicbase.acme]
secrets = [{apicbase}]
poll = {{ client_id = {client_id}, client_secret = {client_secret} }}
[accounts.channelape.rothys]
keys = [{{ name = {key_name}, secret = {key} }}]
[accounts.ecomnow.shop]
authorizations = [{authorization}]
[accounts.ustore.printshop]
secrets = [{ustore}]
[subscribers.boards]
username = {username}
password = {password}
accounts = []
"""
KEYS = {
    "operator_token": "api.operator_token",
    "apicbase": "accounts.apicbase.acme.secrets[0]",
    "client_id": "accounts.apicbase.acme.poll.client_id",
    "client_secret": "accounts.apicbase.acme.poll.client_secret",
    "key_name": "accounts.channelape.rothys.keys[0].name",
    "key": "accounts.channelape.rothys.keys[0].secret",
    "authorization": "accounts.ecomnow.shop.authorizations[0]",
    "ustore": "accounts.ustore.printshop.secrets[0]",
    "username": "subscribers.boards.username",
    "password": "subscribers.boards.password",
}
TEXT_ONLY = {"client_id", "key_name", "username"}
"""Settings that are written into the file, because they are not secrets."""


def warnings(folder: Path, field: str, written: str) -> list[str]:
    values = {name: f'"good-{name}"' for name in KEYS} | {"authorization": '"Basic Z29vZA=="'} | {field: written}
    (folder / "crossdock.toml").write_text(FIELDS.format(**values), encoding="utf-8")
    return config.secret_problems(folder / "crossdock.toml")


def toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'


SPOILT = [
    ('"hush"', "in quotes"),
    ("'hush hush='", "in quotes"),
    ("`hush`", "in quotes"),
    ("“hush”", "in quotes"),
    ("«hush»", "in quotes"),
    ("\u200bhush", "invisible character (U+200B)"),
    ("\ufeffhush", "invisible character (U+FEFF)"),
    ("hush\u2060", "invisible character (U+2060)"),
    ("hu\u00adsh", "invisible character (U+00AD)"),
    ("\u202ahush\u202c", "invisible character (U+202A)"),
    ("\u00a0hush", "begins or ends with a blank"),
    (" hush", "begins or ends with a blank"),
    ("hu\tsh", "newline or a tab within"),
    ("Authorization: hush", "header line"),
    ("authorization:hush", "header line"),
    ("X-Hub-Signature: hush", "header line"),
    ("${HUSH}", "name of a variable"),
    ("$HUSH", "name of a variable"),
    ("%HUSH%", "name of a variable"),
    ("{{ hush }}", "placeholder"),
    ("<hush>", "placeholder"),
]


@pytest.mark.parametrize(("written", "complaint"), SPOILT)
@pytest.mark.parametrize("field", KEYS)
def test_a_spoilt_secret_is_named_and_not_shown(tmp_path: Path, field: str, written: str, complaint: str) -> None:
    lines = warnings(tmp_path, field, toml(written))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{KEYS[field]}: ")
    assert complaint in lines[0]
    assert "hush" not in lines[0].lower()


@pytest.mark.parametrize("field", sorted(KEYS.keys() - TEXT_ONLY))
@pytest.mark.parametrize("source", ["env", "file"])
def test_a_damaged_secret_from_the_environment_or_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, source: str
) -> None:
    monkeypatch.setenv("SPOILT", "'Basic hush='")
    (tmp_path / "spoilt").write_text("'Basic hush='\n")
    written = '{ env = "SPOILT" }' if source == "env" else '{ file = "spoilt" }'
    (lines,) = warnings(tmp_path, field, written)
    assert "in quotes" in lines


@pytest.mark.parametrize("value", ["SPOILT=hush", "export SPOILT=hush"])
def test_a_whole_line_of_the_environment_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SPOILT", value)
    (lines,) = warnings(tmp_path, "password", '{ env = "SPOILT" }')
    assert "begins with the name of its variable" in lines


@pytest.mark.parametrize("field", KEYS)
@pytest.mark.parametrize(
    "good", ["KBc+fU/5==", "it's", '5" and 6"', "a=b:c", "@authtoken", "Basic dXNlcjpwYXNz", "a:b", "Zoë", "$1$x"]
)
def test_an_unusual_but_sound_secret_is_not_accused(tmp_path: Path, field: str, good: str) -> None:
    lines = warnings(tmp_path, field, toml(good))
    assert lines == [] or (good == "Zoë" and field in ("key", "key_name")) or (field == "key_name" and "=" in good)


@pytest.mark.parametrize("written", ["?hush", "hush=", "hush=x", "hush&", "#hush"])
def test_the_name_of_a_key_is_only_its_name(tmp_path: Path, written: str) -> None:
    (line,) = warnings(tmp_path, "key_name", toml(written))
    assert "keep only the name" in line
    assert "hush" not in line


def test_a_newline_at_the_end_is_left_out_and_not_a_problem(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    assert warnings(tmp_path, "password", '{ file = "secret" }') == []


@pytest.mark.parametrize("field", ["key", "key_name"])
def test_what_is_sent_in_a_query_string_needs_percent_encoding(tmp_path: Path, field: str) -> None:
    (lines,) = warnings(tmp_path, field, '"Zoë-hush"')
    assert lines.startswith(f"{KEYS[field]}: ")
    assert "its sender must percent-encode it" in lines
    assert "hush" not in lines


def test_check_warns_of_damaged_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def unreachable(*_: Any) -> Finding:
        return Finding("server", ["not asked"])

    monkeypatch.setattr(check, "_rabbitmq", unreachable)
    monkeypatch.setattr(check, "_postgresql", unreachable)
    assert len(warnings(tmp_path, "authorization", toml('"Basic hush="'))) == 1
    lines = asyncio.run(check._check(tmp_path / "crossdock.toml", tmp_path))
    (secrets,) = [entry for entry in lines if entry.what == "secrets"]
    assert "accounts.ecomnow.shop.authorizations[0]" in secrets.problems[0]
