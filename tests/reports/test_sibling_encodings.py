"""Siblings of reported inputs: byte order marks behind blank lines, and names in `Content-Encoding` that name none."""

import codecs
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy import config as settings
from schemas import documents, encodings
from tests.contract.checks import Case, accepts, cases
from tests.reports.test_door import config, exchange, path, request
from tests.support import pipeline
from workers.poll import pages

CASES = [pytest.param(case, id=str(case)) for case in cases()]
MARK = codecs.BOM_UTF8
BLANKS = (b"\n", b"\r\n\r\n", b" \t\n ")


def describe(case: Case, raw: bytes) -> documents.Document:
    return documents.describe(case.platform, case.event.name, raw)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "before", [b"\n" + MARK, b"\r\n\r\n" + MARK, MARK + b"\n" + MARK, b" \t\n" + MARK + b" " + MARK]
)
def test_a_mark_after_blank_lines_is_not_part_of_the_document(case: Case, before: bytes) -> None:
    raw = before + case.raw
    plain, marked = describe(case, case.raw), describe(case, raw)
    assert marked.flags == ("byte_order_mark", *plain.flags)
    assert msgspec.structs.replace(marked, flags=plain.flags) == plain
    assert case.platform.decode(case.event.name, raw) is not None
    assert accepts(case.platform, raw, case.platform.sign(raw, case.account), case.account)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("blanks", ["\n", "\r\n  "])
@pytest.mark.parametrize("wide", [False, True])
def test_marks_of_other_encodings_behind_blank_lines(case: Case, encoding: str, blanks: str, wide: bool) -> None:
    text = ("\ufeff" + case.raw.decode()).encode(encoding)
    raw = blanks.encode(encoding if wide else "ascii") + text
    plain, recoded = describe(case, case.raw), describe(case, raw)
    assert recoded.flags == ("transcoded", *plain.flags)
    assert msgspec.structs.replace(recoded, flags=plain.flags) == plain


@pytest.mark.parametrize("blanks", BLANKS)
def test_pages_tokens_and_lists_behind_blank_lines_and_a_mark(blanks: bytes, tmp_path: Path) -> None:
    body = blanks + MARK + b'{"results": [{"id": 1}], "next": null}'
    assert pages.split(encodings.to_utf8(body, "application/json")).results == [msgspec.Raw(b'{"id": 1}')]
    (tmp_path / "list.csv").write_bytes(blanks + MARK + b"article;name\nART-1;one\n")
    raw: Any = {"accounts": {"apicbase": {"acme": {"secrets": ["x"], "articles": {"file": "list.csv"}}}}}
    assert "ART-1" in settings.parse(raw, tmp_path).accounts["apicbase"]["acme"].known_articles


@pytest.mark.parametrize("raw", [b"", b"\n", b" {}", b'\n{"a": 1}', b"\n\n" + b"x" * 100, b"\r\n\xc3\xa9"])
def test_blank_lines_without_a_mark_stay(raw: bytes) -> None:
    assert encodings.by_mark(raw) == (raw, None)


NO_CODINGS = (
    *("UTF_8", "utf-8-sig", "charset=utf-8", "utf8mb4", "application/json", "application/json; charset=utf-8", "UTF-7"),
    *(
        "json",
        "text",
        "Unicode",
        "ANSI",
        "windows-1252",
        "iso_8859-1",
        "chunked",
        "latin1",
        '"utf-8"',
        "de",
        "9bit",
        "*",
    ),
)
CODINGS = (
    *(
        "gzip",
        "x-gzip",
        "GZIP",
        '"gzip"',
        "deflate",
        "compress",
        "x-compress",
        "br",
        "zstd",
        "dcb",
        "dcz",
        "aws-chunked",
    ),
    *(
        "identity, gzip",
        "utf-8, br",
        "aws-chunked,gzip",
        "gzip;q=1.0",
        "pack200-gzip",
        "aes128gcm",
        "exi",
        "bzip2",
        "xz",
    ),
    *("x-snappy-framed", "lz4", "base64", "application/gzip", "x-zstd", "zlib"),
)


async def test_only_codings_are_refused(amqp_url: str) -> None:
    async with pipeline.door(amqp_url, config()) as door:
        for name in NO_CODINGS:
            assert await exchange(door.app.port, request(path(door), f"Content-Encoding: {name}\r\n")) == 200, name
        for name in CODINGS:
            assert await exchange(door.app.port, request(path(door), f"Content-Encoding: {name}\r\n")) == 415, name


@pytest.mark.parametrize("name", ["rot13", "x-own", "9bit"])
def test_an_unknown_coding_is_recognised_by_an_unreadable_body(name: str) -> None:
    assert not encodings.is_encoded([name])
    assert not encodings.is_unreadable([name], b'\n{"a": 1}')
    assert not encodings.is_unreadable([name], '{"a": 1}'.encode("utf-16"))
    assert encodings.is_unreadable([name], b"\x1f\x8b\x08\x00{")
    assert not encodings.is_unreadable(["utf-8", "identity"], b"\x1f\x8b\x08\x00{")
