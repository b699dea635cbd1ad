"""What shoppers read: catalogues that agree with their sources, and proper negotiation of the language."""

import io
import json
import re
from pathlib import Path

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

from schemas import registry
from schemas.platforms.ustore import messages

LANGUAGES = sorted(messages.languages())
STATUSES = [400, 401, 403, 404, 405, 408, 413, 415, 500, 503]


def source(language: str) -> Catalog:
    with (messages.LOCALES / language / "LC_MESSAGES" / "ustore.po").open("rb") as file:
        return read_po(file, locale=language)


def test_the_languages_that_must_be_there() -> None:
    assert {"en", "fr", "de", "es", "nl", "it", "pt"} <= set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_what_its_source_says(language: str) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, source(language))
    assert (messages.LOCALES / language / "LC_MESSAGES" / "ustore.mo").read_bytes() == compiled.getvalue()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_with_the_same_places(language: str) -> None:
    with (messages.LOCALES / language / "LC_MESSAGES" / "ustore.mo").open("rb") as file:
        texts = {str(entry.id): str(entry.string) for entry in read_mo(file) if entry.id}
    assert set(texts) == set(messages.ALL)
    for message, translated in texts.items():
        assert re.findall(r"{\w*}", translated) == re.findall(r"{\w*}", message)
        assert (translated == message) == (language == "en")


def test_the_template_for_translators_holds_every_message() -> None:
    with (messages.LOCALES / "ustore.pot").open("rb") as file:
        assert [entry.id for entry in read_po(file) if entry.id] == list(messages.ALL)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("en-US", "en"),
        ("fr-FR", "fr"),
        ("FR-ca", "fr"),
        ("de", "de"),
        ("de-Latn-CH-1996", "de"),
        ("pt_BR", "pt"),
        ("zh-CN", "en"),
        ("zh-CN, it;q=0.1", "it"),
        ("es;q=0.5, nl;q=0.9", "nl"),
        ("es; q=0.9 , nl;q=0.8", "es"),
        ("fr, de", "fr"),
        ("fr;q=0, fr-FR, de;q=0.1", "de"),
        ("*", "en"),
        ("zh, *;q=0.5", "en"),
        ("en;q=0, *", "de"),
        ("de;q=0.2, *;q=0.1", "de"),
        (";;;,,, =;q", "en"),
        ("fr;q=high, it", "it"),
        ("fr;q=nan, it;q=2, es;q=-1, nl;q=0.001", "nl"),
        ("\udcff\x00é, de", "de"),
        ("-" * 5000 + ",fr", "en"),
        ("x," * 100_000, "en"),
    ],
)
def test_the_language_is_negotiated_from_accept_language(header: str | None, language: str) -> None:
    assert messages.negotiate(header) == language


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("header", [None, *LANGUAGES])
def test_every_error_is_a_message(status: int, header: str | None) -> None:
    content_type, body = messages.error(status, header)
    assert content_type == "application/json"
    decoded = json.loads(body)
    assert list(decoded) == ["message"]
    assert "{" not in decoded["message"]


def test_the_401_is_the_same_in_every_language() -> None:
    assert {messages.error(401, header) for header in (None, "fr", "garbage;;")} == {
        ("application/json", b'{"message":"Not authorized."}')
    }


def test_errors_are_in_the_reader_s_language() -> None:
    assert len({messages.error(503, language) for language in LANGUAGES}) == len(LANGUAGES)


@pytest.mark.parametrize("name", ["x", "{item}", "{0}", "%s", 'a "b" \\ \n', "Ünï 🎉 𝔅", "\u2028"])
def test_the_item_s_name_stands_in_the_message_as_it_is(name: str) -> None:
    for language in LANGUAGES:
        assert name in json.loads(messages.body(messages.CANNOT_BE_PRODUCED, language, item=name))["message"]


def test_a_language_is_added_by_a_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(Locale("sv"))
    catalog.add(messages.UNREADABLE, "Beställningen kunde inte läsas.")
    for language, entries in (("en", source("en")), ("sv", catalog), ("zh_Hant", Catalog(Locale("zh")))):
        folder = tmp_path / language / "LC_MESSAGES"
        folder.mkdir(parents=True)
        with (folder / "ustore.mo").open("wb") as file:
            write_mo(file, entries)
    caches = (messages.languages, messages._catalogue, messages._negotiate)
    monkeypatch.setattr(messages, "LOCALES", tmp_path)
    for cached in caches:
        cached.cache_clear()
    try:
        assert json.loads(messages.error(400, "sv-SE")[1]) == {"message": "Beställningen kunde inte läsas."}
        assert messages.negotiate("zh-Hant-TW, sv") == "zh-hant"  # each part is left out in turn (RFC 4647 §3.4)
        # What a translator has not done yet is said in English.
        assert json.loads(messages.error(503, "sv")[1]) == {"message": messages.UNAVAILABLE}
    finally:
        for cached in caches:
            cached.cache_clear()


def test_the_platform_uses_these_error_messages() -> None:
    platform = registry.platforms()["ustore"]
    assert platform.error is not None
    assert platform.error(400, "nl") == messages.error(400, "nl")
