"""Bodies that are not quite what they should be: flags, what is kept, what is refused."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas import canonical, documents, lenient, registry
from schemas.documents import Document
from schemas.platform import Event, Line, ParsedDocument, Platform, Signed, UnreadableError

CHANNELAPE = registry.platforms()["channelape"]
EVENT = "stock_transfer_order"
EXAMPLE = registry.example("channelape", EVENT)


def describe(raw: bytes) -> Document:
    return documents.describe(CHANNELAPE, EVENT, raw)


def test_a_valid_body_is_described_without_flags() -> None:
    document = describe(EXAMPLE)
    assert document.flags == ()
    assert document.data == EXAMPLE
    assert document.body == EXAMPLE.decode()
    assert document.digest == canonical.digest(EXAMPLE)


@pytest.mark.parametrize(
    "body", [b'{"lineItems": 3, "id": "', b'{"id": tru', b"[1, 2", b'{"id": 12.', b'{"id": [1], "x"']
)
def test_a_body_that_is_cut_off_is_said_to_be(body: bytes) -> None:
    """What it holds may have the wrong shape as well, but that is not what its sender has to mend."""
    with pytest.raises(UnreadableError, match=f"^not JSON: the text ends in the middle: it is {len(body)} bytes long$"):
        describe(body)


@pytest.mark.parametrize(
    "odd",
    [b'"x\\u0000y"', b'"x\\ud800y"', b"1e131072", b"9" * 5000],
    ids=["NUL", "surrogate", "exponent", "digits"],
)
def test_json_that_jsonb_refuses_is_kept_as_data(odd: bytes) -> None:
    raw = EXAMPLE.replace(b'"FEDEX"', odd)
    document = describe(raw)
    surrogate = b"ud800" in odd
    assert document.flags == (("not_jsonb", "invalid_unicode") if surrogate else ("not_jsonb",))
    assert (document.body, document.data) == (None, raw.replace(b"\\ud800", b"\\ufffd"))
    assert document.reading == describe(EXAMPLE).reading
    assert document.digest != describe(EXAMPLE).digest


def test_deeply_nested_json_is_not_sent_as_data_but_read() -> None:
    raw = EXAMPLE.replace(b'"FEDEX"', b"[" * 100_000 + b"]" * 100_000)
    document = describe(raw)
    assert (document.flags, document.body, document.data) == (("not_jsonb",), None, None)
    assert document.reading == describe(EXAMPLE).reading


def test_deep_nesting_that_never_closes_is_unreadable() -> None:
    with pytest.raises(UnreadableError):
        describe(EXAMPLE.replace(b'"FEDEX"', b"[" * 100_000))


def test_overflowing_number_that_numeric_holds() -> None:
    document = describe(EXAMPLE.replace(b'"FEDEX"', b"1e400"))
    assert document.flags == ()
    assert document.body is not None


@pytest.mark.parametrize(
    ("mangle", "title"),
    [
        (b"Sh\xffoe", "Sh\ufffdoe"),
        (b"Sh\toe", "Sh\ufffdoe"),
        (b"Sh\x00oe", "Sh\ufffdoe"),
        (b"Sh\xed\xa0\x80oe", "Sh\ufffd\ufffd\ufffdoe"),
    ],
)
def test_a_body_that_is_not_json_but_readable_is_flagged(mangle: bytes, title: str) -> None:
    raw = EXAMPLE.replace(b'"sku": "002_110_BLK_5"', b'"title": "' + mangle + b'"')
    document = describe(raw)
    assert (document.flags, document.body, document.data) == (("not_json",), None, None)
    assert document.reading.key == "STO4600000039"
    assert document.reading.lines[0].name == title
    assert document.digest == canonical.digest_bytes(raw)


def test_a_byte_order_mark_is_flagged_and_ignored() -> None:
    document = describe(b"\xef\xbb\xbf" + EXAMPLE)
    assert document == msgspec.structs.replace(describe(EXAMPLE), flags=("byte_order_mark",))


@pytest.mark.parametrize(
    "key",
    [
        b'"STO\xff"',
        b'"S\\u0000TO"',
        b'"STO\\ud800"',
        b'"STO\x01"',
        b'"' + b"9" * 513 + b'"',
        b'"' + "é".encode() * 257 + b'"',
    ],
)
def test_a_key_that_is_damaged_or_cannot_be_kept_is_unreadable(key: bytes) -> None:
    with pytest.raises(UnreadableError):
        describe(EXAMPLE.replace(b'"STO4600000039"', key))


def test_a_key_of_five_hundred_and_twelve_bytes_is_fine() -> None:
    assert describe(EXAMPLE.replace(b'"STO4600000039"', b'"' + "é".encode() * 256 + b'"')).reading.key == "é" * 256


@pytest.mark.parametrize("name", [b'"000011"', b'"4600000039"', b'"969"'])
def test_names_that_no_index_takes_are_unreadable(name: bytes) -> None:
    with pytest.raises(UnreadableError, match="512"):
        describe(EXAMPLE.replace(name, b'"' + b"x" * 600 + b'"'))


def test_an_article_that_no_index_takes_is_cut_because_it_is_only_looked_at() -> None:
    document = describe(EXAMPLE.replace(b'"002_110_BLK_5"', b'"' + "é".encode() * 600 + b'"'))
    assert document.reading.lines[0].article == "é" * 256
    assert document.flags == ("shortened",)
    assert document.data is not None
    assert "é".encode() * 600 in document.data


def test_nul_in_any_text_of_a_reading_is_replaced() -> None:
    raw = json.dumps(
        {
            "id": "1",
            "channelOrderId": "a\0z",
            "purchaseOrderNumber": "b\0z",
            "purchasedAt": "c\0z",
            "additionalFields": {"note_attributes_ship_from": "d\0z", "note_attributes_ship_to": "e\0z"},
            "lineItems": [{"id": "f\0z", "sku": "g\0z", "title": "h\0z"}],
        }
    ).encode()
    reading = documents.describe(CHANNELAPE, "ship_confirmation", raw).reading
    assert "\0" not in str(msgspec.to_builtins(reading))
    assert (reading.order_ref, reading.lines[0].id) == ("a\ufffdz", "f\ufffdz")


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b'"x"', b"1", b"{}", b"x", b"\xff", b'{"channelOrderId": "1", "lineItems": {}}']
)
def test_a_body_of_another_kind_is_unreadable(raw: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        describe(raw)
    assert str(caught.value)


def test_reasons_quote_nothing_of_the_body() -> None:
    for raw in (b'{"channelOrderId": "secret", "lineItems": "secret"}', b'{"secret": secret}', b'"secret\xff'):
        with pytest.raises(UnreadableError) as caught:
            describe(raw)
        assert "secret" not in str(caught.value)


def test_describe_checks_what_a_platform_does_not() -> None:
    """`describe` doesn't rely on every platform's care for what PostgreSQL can't hold."""

    class Thing(msgspec.Struct):
        id: str
        name: str = ""

    read = lenient.decoder(Thing)

    def careless(event: str, raw: bytes) -> ParsedDocument:
        document = read(raw)
        return ParsedDocument(type="t.t", key=document.id, lines=(Line(id="1", name=document.name),))

    platform = Platform(
        name="t",
        account=Thing,
        demo=("a", {}),
        events=(Event(name="t", path="t", types=("t.t",), examples=()),),
        unauthorized=401,
        verify=lambda raw, headers, query, account: None,
        sign=lambda raw, account: Signed(),
        read=careless,
        decode=lambda event, raw: read(raw),
        secrets=lambda account: (),
    )
    assert documents.describe(platform, "t", b'{"id":"1","name":"\\u0000"}').reading.lines[0].name == "\ufffd"
    for raw in (b'{"id":"\\u0000"}', b'{"id":"\\ud800"}', b'{"id":"\xff"}', b'{"id":"' + b"x" * 513 + b'"}'):
        with pytest.raises(UnreadableError):
            documents.describe(platform, "t", raw)


class TestLoose:
    @pytest.mark.parametrize(
        ("raw_value", "meant"),
        [
            (b"1", "1"),
            (b'"1"', "1"),
            (b"1.50", "1.50"),
            (b'" -1.5e3 "', "-1.5E+3"),
            (b"1e400", "1E+400"),
            (b"1e1001", None),
            (b"1e-1001", None),
            (b"0e1001", None),
            (b"1e99999999999999999999", None),
            (b'"sNaN"', None),
            (b'"-inf"', None),
            (b'"1_0"', None),
            ('"\u0661"'.encode(), None),
            (b'"1,5"', None),
            (b'""', None),
            (b"null", None),
            (b"true", None),
            (b"[1]", None),
            (b"{}", None),
        ],
    )
    def test_numbers_are_read_leniently(self, raw_value: bytes, meant: str | None) -> None:
        class Holder(msgspec.Struct):
            value: lenient.Scalar

        value = lenient.number(lenient.decoder(Holder)(b'{"value": ' + raw_value + b"}").value)
        assert value == (None if meant is None else Decimal(meant))
        assert meant is None or str(value) == meant

    def test_texts_are_read_leniently(self) -> None:
        values: list[Any] = [msgspec.UNSET, None, "", " \n", True, [], {}, "a", " a ", 7, msgspec.Raw(b"1.50")]
        assert [lenient.text(value) for value in values] == [None] * 7 + ["a", " a ", "7", "1.50"]
