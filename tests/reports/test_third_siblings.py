"""Further siblings of reported inputs: invisible characters, credentials, lists, log-ins, and empty values."""

from pathlib import Path

import pytest

from ingress.api.context import check_authorization
from schemas import lenient, serverurls
from schemas.destinations import urls
from tests.reports.test_csv_files import listed

INVISIBLE = [
    *("\u200b", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068"),
    *("\u2069", "\u00ad", "\u061c", "\u180e", "\u2061", "\ufe00", "\ufe0f", "\ufff9", "\U000e0001", "\U000e0100"),
    *("\u034f", "\u3164", "\ufeff"),
]


@pytest.mark.parametrize("character", INVISIBLE)
def test_an_invisible_character_at_an_end_is_not_part_of_it(tmp_path: Path, character: str) -> None:
    for written in (f"{character}ART-1", f"ART-1{character}", f" {character} {character}ART-1{character} "):
        assert lenient.identifier(written) == "ART-1"
        assert listed(tmp_path, f"article;name\n{written};one\n".encode()) == ["ART-1"]
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
