"""Further siblings of reported inputs: invisible characters, credentials, lists, log-ins, and empty values."""

import base64
import json
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from ingress.api.auth import Authenticator
from ingress.api.context import check_authorization
from schemas import lenient, registry, serverurls
from schemas.destinations import urls
from tests.reports.test_csv_files import listed
from tests.support import pipeline
from tests.unit.api.test_auth import attempt
from workers.route.ustore.items import comparable

INVISIBLE = [
    *("\u200b", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068"),
    *("\u2069", "\u00ad", "\u061c", "\u180e", "\u2061", "\ufe00", "\ufe0f", "\ufff9", "\U000e0001", "\U000e0100"),
    *("\u034f", "\u3164", "\ufeff"),
]


@pytest.mark.parametrize("character", INVISIBLE)
def test_an_invisible_character_at_an_end_is_not_part_of_it(tmp_path: Path, character: str) -> None:
    for written in (f"{character}ART-1", f"ART-1{character}", f" {character} {character}ART-1{character} "):
        assert lenient.identifier(written) == "ART-1"
        for cell in (written, f'="{written}"', f"'{written}"):
            assert listed(tmp_path, f"article;name\n{cell};one\n".encode()) == ["ART-1"]
        assert comparable(written) == "art-1"
    for moment in ("2026-11-29T10:00:00Z", "Sun, 29 Nov 2026 10:00:00 GMT"):
        assert lenient.utc_datetime(f"{character}{moment}{character}") == datetime(2026, 11, 29, 10, tzinfo=UTC)
    assert lenient.identifier(f"{character}null{character}") is None
    assert lenient.identifier(character) is None
    assert lenient.is_absent(f"n/a{character}")
    assert lenient.identifier(f"A{character}B") == f"A{character}B"
    url = "amqp://user:password@host:5672/vhost"
    assert serverurls.checked("AMQP_URL", f"{character}{url}{character}\n") == url


@pytest.mark.parametrize("character", INVISIBLE)
def test_a_url_with_an_invisible_character_is_refused(character: str) -> None:
    for url in (
        f"https://a.example/hook{character}",
        f"{character}https://a.example/",
        f"https://a{character}.example",
    ):
        with pytest.raises(urls.BlockedError, match=rf"invisible character \(U\+{ord(character):04X}\)"):
            urls.parse(url)


@pytest.mark.parametrize("name", ["Zoë", "ö", "商品", "A\u0308"])
def test_visible_characters_stay(name: str) -> None:
    assert lenient.identifier(name) == lenient.composed(name)
    assert urls.parse(f"https://a.example/{name}").path != "/"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("Authorization: Basic abc", "without the header's name"),
        ("authorization:Bearer abc", "without the header's name"),
        ("X-Api-Key: abc", "without the header's name"),
        ('"Basic abc"', "quotes"),
        ("'Basic abc'", "quotes"),
        ('Basic "abc"', "quotes"),
        ("${TOKEN}", "variable"),
        ("Bearer $TOKEN", "variable"),
        ("%TOKEN%", "variable"),
        ("{{ token }}", "placeholder"),
        ("Basic <base64>", "placeholder"),
        ("Basic caf\u00e9", "printable ASCII"),
    ],
)
def test_an_authorization_that_was_copied_with_its_surroundings_is_refused(value: str, problem: str) -> None:
    assert problem in (check_authorization(value) or "")


@pytest.mark.parametrize(
    "value", ["Basic dXNlcjpwYXNz", "Bearer a.b-c_d", 'Digest username="a", realm="b"', "abc==", "$1$x", "", None]
)
def test_a_sound_authorization_is_accepted(value: str | None) -> None:
    assert check_authorization(value) is None


def log_ins(name: str, password: str, encoding: str) -> list[Any]:
    """Return a request with HTTP Basic and one with eComNow's headers."""
    pair = f"{name}:{password}".encode(encoding)
    parts = [part.encode(encoding).decode("utf-8", "surrogateescape") for part in (name, password)]
    return [
        SimpleNamespace(headers=CIMultiDict(headers), remote="192.0.2.1")
        for headers in (
            {"Authorization": f"Basic {base64.b64encode(pair).decode()}"},
            {"Username": parts[0], "Password": parts[1]},
        )
    ]


@pytest.mark.parametrize("configured", ["NFC", "NFD"])
async def test_a_log_in_with_umlauts_is_read_in_utf_8_and_latin_1(configured: str) -> None:
    name, password = "Müller", "pä\u00dfwort"
    kept = [unicodedata.normalize(configured, text) for text in (name, password)]  # type: ignore[arg-type]
    subscriber = {"username": kept[0], "password": kept[1], "accounts": ["*"]}
    doorman = Authenticator(pipeline.config({"subscribers": {"mueller": subscriber}}))
    composed = log_ins(name, password, "utf-8") + log_ins(name, password, "latin-1")
    decomposed = log_ins(unicodedata.normalize("NFD", name), unicodedata.normalize("NFD", password), "utf-8")
    for request in composed + decomposed:
        assert await attempt(doorman, request) == 200
    for request in log_ins(name, "passwort", "latin-1") + log_ins("Muller", password, "utf-8"):
        assert await attempt(doorman, request) == 401
    for request in log_ins(name, "pa\u00dfwort", "latin-1"):
        assert await attempt(doorman, request) == 401


UNFILLED = [
    *("False", "True", "FALSE", "TBD", "tba", "string", "not available", "Not Applicable", "unknown", "N.A.", "n / a"),
    *("N\\A", "#N/A#", "(n/a)", "{{receipt_id}}", "{{ receipt.id }}", "${receipt_id}", "$receipt_id", "$(id)"),
    *("%RECEIPT%", "<receipt_id>", "[receipt id]", "{receipt_id}", "<%= id %>", " TBD\u200e"),
]


@pytest.mark.parametrize("value", UNFILLED)
def test_a_placeholder_of_a_template_numbers_no_receipt(value: str) -> None:
    assert lenient.reference(value) is None
    bodies = [json.loads(registry.example("channelape", "receipt_confirmation")) for _ in range(2)]
    for number, body in enumerate(bodies):
        body["id"] = f"S{number}"
        body["additionalFields"]["receipt_id"] = value
    platform = registry.platforms()["channelape"]
    keys = {platform.read("receipt_confirmation", json.dumps(body).encode()).key for body in bodies}
    assert len(keys) == 2


@pytest.mark.parametrize(
    "value", ["NA", "STRING-1", "TBD1", "$1$x", "{4F2A-11}", "[A1]", "<A1>", "$5", "Unknown Pleasures", "NAN-1", "1%"]
)
def test_a_text_that_only_resembles_a_template_numbers_a_receipt(value: str) -> None:
    assert lenient.reference(value) == value


def test_a_placeholder_of_a_template_may_name_something_else() -> None:
    assert [lenient.identifier(value) for value in ("TBD", "False", "$name")] == ["TBD", "False", "$name"]
