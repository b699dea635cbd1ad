"""Bodies that are not the plain UTF-8 that JSON between systems should be."""

import codecs
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas import allocation, canonical, cloudevents, documents
from schemas.dialects import dialects
from schemas.documents import Document
from schemas.envelope import Envelope
from schemas.outbound import Credentials, Event
from schemas.platform import UnreadableError
from schemas.platforms.ustore import manufacturer_order
from tests.contract.checks import Case, accepts, cases
from workers.route import answers, ustore

CASES = [pytest.param(case, id=str(case)) for case in cases()]
UTF_16_AND_32 = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


def describe(case: Case, raw: bytes, content_type: str | None = None) -> Document:
    return documents.describe(case.platform, case.event.name, raw, content_type)


def envelope(case: Case, content_type: str | None = None) -> Envelope:
    return Envelope(
        message_id="01932d5e-0000-7000-8000-000000000001",
        platform=case.platform.name,
        account="a",
        event=case.event.name,
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
        content_type=content_type,
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("marks", [1, 2])
def test_a_byte_order_mark_is_not_part_of_the_document(case: Case, marks: int) -> None:
    """sp-dev-docs#1123, n8n#35933: .NET writers put one before signed bodies."""
    plain, marked = describe(case, case.raw), describe(case, codecs.BOM_UTF8 * marks + case.raw)
    assert marked.flags == ("byte_order_mark", *plain.flags)
    assert msgspec.structs.replace(marked, flags=plain.flags) == plain


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("encoding", UTF_16_AND_32)
def test_utf_16_and_32_are_read_by_their_mark_or_their_nuls(case: Case, encoding: str) -> None:
    """sp-dev-docs#1123 (sibling): .NET's "Unicode" is UTF-16."""
    plain, recoded = describe(case, case.raw), describe(case, case.raw.decode().encode(encoding))
    assert recoded.flags == ("transcoded", *plain.flags)
    assert msgspec.structs.replace(recoded, flags=plain.flags) == plain


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("encode", [lambda raw: codecs.BOM_UTF8 + raw, lambda raw: raw.decode().encode("utf-16")])
def test_signatures_are_over_the_bytes_as_received(case: Case, encode: Any) -> None:
    """n8n#35933: the signature covers the mark; a signature over anything else does not fit."""
    raw = encode(case.raw)
    assert accepts(case.platform, raw, case.platform.sign(raw, case.account), case.account)


@pytest.mark.parametrize("name", ["apicbase", "ustore"])
@pytest.mark.parametrize("encode", [lambda raw: codecs.BOM_UTF8 + raw, lambda raw: raw.decode().encode("utf-16")])
def test_waiting_senders_get_the_answer_to_the_decoded_body(name: str, encode: Any) -> None:
    """sp-dev-docs#1123: uStore's shopper and Apicbase's customer were told that their order can't be read."""
    for case in cases(name):
        plain = answers.answerers()[name].answer(envelope(case), case.raw, case.account)
        marked = answers.answerers()[name].answer(envelope(case), encode(case.raw), case.account)
        assert (marked.status, marked.body) == (plain.status, plain.body)
        assert marked.status == 200


@pytest.mark.parametrize(
    ("charset", "text", "meant"),
    [
        ("ISO-8859-1", b"caf\xe9 ol\xe9", "caf\u00e9 ol\u00e9"),
        ('"iso-8859-1"', b"\x80 5", "\u20ac 5"),
        ("windows-1252", b"\x80 5", "\u20ac 5"),
        ("us-ascii", b"caf\xe9", "caf\u00e9"),
        ("iso-8859-15", b"\xa4 5", "\u20ac 5"),
        ("windows-1251", b"\xcc\xee", "\u041c\u043e"),
        ("Shift_JIS", b"\x83\x65", "\u30c6"),
        ("gbk", b"\xc4\xe3", "\u4f60"),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_the_charset_of_the_content_type_is_what_the_bytes_are_in(
    case: Case, charset: str, text: bytes, meant: str
) -> None:
    """tcWebHooks#92: `application/json; charset=ISO-8859-1`, and an accent in one byte."""
    start, _, rest = case.raw.decode().encode("ascii", "replace").partition(b"{")
    body = b'%s{"note": "%s",%s' % (start, text, rest)
    document = describe(case, body, f"application/json; charset={charset}")
    assert document.flags[0] == "transcoded"
    assert document.data is not None
    assert json.loads(document.data)["note"] == meant
    assert document.body == document.data.decode()
    assert document.reading == describe(case, start + b"{" + rest).reading
    waiting = answers.answerers().get(case.platform.name)
    if waiting is not None:
        reply = waiting.answer(envelope(case, f"application/json; charset={charset}"), body, case.account)
        assert reply.status == 200


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "idna", "zlib_codec", "nonsense", "utf-8", ""])
@pytest.mark.parametrize("case", CASES)
def test_valid_utf_8_is_read_as_utf_8_whatever_the_header_says(case: Case, charset: str) -> None:
    """tcWebHooks#92 (sibling): frameworks announce ISO-8859-1 by default and write UTF-8."""
    body = case.raw.replace(b"{", '{"note": "é",'.encode(), 1)
    assert describe(case, body, f"application/json; charset={charset}") == describe(case, body)


@pytest.mark.parametrize("case", [*cases("apicbase"), *cases("ustore")], ids=str)
@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/json; charset=idna"])
def test_a_body_in_no_known_encoding_is_unreadable(case: Case, content_type: str | None) -> None:
    """tcWebHooks#92 (sibling): nothing is guessed."""
    with pytest.raises(UnreadableError, match="UTF-8"):
        describe(case, case.raw.replace(b"{", b'{"note": "\xe9",', 1), content_type)


LONE = b'{"note": "Anna \\ud83d", "good": "\\ud83d\\ude00", "backslash": "\\\\ud83d",'


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lone", [LONE, LONE.replace(b'ud83d"', b'udc00"'), LONE.replace(b"Anna ", b"\\ude00")])
def test_what_we_send_is_valid_unicode_in_every_dialect(case: Case, lone: bytes) -> None:
    """json_reindent#12, DRF#6895: strict subscribers refuse a lone surrogate, again and again."""
    raw = case.raw.replace(b"{", lone, 1)
    document = describe(case, raw)
    assert "invalid_unicode" in document.flags
    assert document.data is not None
    strict(document.data)
    event = Event(
        id="01932d5e-0000-8000-8000-000000000001",
        platform=case.platform.name,
        account="a",
        type=document.reading.type,
        key=document.reading.key,
        version=1,
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
        raw=raw,
        data=document.data,
    )
    credentials = Credentials(secrets=("whsec_" + "A" * 32,), authorization="Basic x", query_key="k")
    reply = [
        dialect.request(event, credentials, 0).body for dialect in dialects().values() if dialect.supports(event.type)
    ]
    reply.append(
        cloudevents.encode(
            id=event.id,
            platform=event.platform,
            account=event.account,
            type=event.type,
            key=event.key,
            received_at=event.received_at,
            version=1,
            traceparent=None,
            data=document.data,
            raw=raw,
        )
    )
    for body in reply:
        strict(body)


def strict(body: bytes) -> None:
    """As a receiver reads that takes no lone surrogate."""
    text = body.decode()
    assert not text.startswith("\ufeff")
    json.dumps(json.loads(text), ensure_ascii=False).encode()


def test_a_manufacturer_gets_valid_unicode() -> None:
    """json_reindent#12 (sibling): the queue messages that are cut out of an order."""
    [case] = [case for case in cases("ustore") if case.example == "manufacturer_allocation"]
    raw = case.raw.replace(b'"static1"', b'"\\ud83d"')
    assert raw != case.raw
    answer = ustore.answer(envelope(case), raw, case.account)
    assert answer.record is not None
    allocations = allocation.decode(answer.record).allocations
    for body in manufacturer_order.split(describe(case, raw).data or raw, allocations).values():
        strict(body)


@pytest.mark.parametrize("raw", [codecs.BOM_UTF8 + b'{"id": "1"}', b"\xff{", b'{"a": "\xed\xa0\x80"}', b"{\0}\0"])
@pytest.mark.parametrize("data", [b'{"id": "1"}', None])
def test_the_newest_copy_is_valid_unicode_whatever_was_received(raw: bytes, data: bytes | None) -> None:
    """n8n#35933 (sibling): a receiver of dialect `channelape` reads JSON without a mark."""
    event = Event(
        id="01932d5e-0000-8000-8000-000000000001",
        platform="channelape",
        account="a",
        type="channelape.receipt_confirmation",
        key="1",
        version=1,
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
        raw=raw,
        data=data,
    )
    body = dialects()["channelape"].request(event, Credentials(), 0).body
    assert not body.decode().startswith("\ufeff")
    assert data is None or body == data


def test_digests_of_bodies_that_were_readable_before_are_unchanged() -> None:
    """A changed canonical form would make a new version of every document that is stored."""
    for case in cases():
        document = describe(case, case.raw)
        repaired = case.platform.repair(case.raw) if case.platform.repair else None
        assert document.digest == canonical.form(repaired or case.raw).digest
    assert (
        describe(cases("channelape")[0], cases("channelape")[0].raw).digest.hex() == "9a577989b2381709241ac13a675bb8e2"
    )
