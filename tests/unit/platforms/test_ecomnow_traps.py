"""eComNow: a test for every trap of its document, by name."""

import json
from decimal import Decimal

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict

from schemas import canonical, documents, registry
from schemas.documents import Document
from schemas.platform import UnreadableError
from schemas.platforms.ecomnow import PLATFORM, identity, signing, wire
from schemas.platforms.ecomnow.config import Account

DOCUMENTED = registry.example("ecomnow", "new_order")
CANCELLATION = registry.example("ecomnow", "order_cancellation")


def describe(raw: bytes) -> Document:
    return documents.describe(PLATFORM, "notification", raw)


def test_the_documented_body_is_read_although_it_is_not_json() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(DOCUMENTED)
    document = describe(DOCUMENTED)
    assert document.flags == (documents.REPAIRED_JSON,)
    assert document.reading.key == "1000-4612"
    assert document.body is not None
    assert json.loads(document.body)["orderNo"] == "1000-4612"
    assert document.data == document.body.encode() == DOCUMENTED.replace(b"1000-4612", b'"1000-4612"')


def test_unquoted_and_quoted_order_number_say_the_same() -> None:
    quoted = DOCUMENTED.replace(b"1000-4612", b'"1000-4612"')
    assert describe(quoted).digest == describe(DOCUMENTED).digest
    assert describe(quoted).flags == ()


def test_look_alike_inside_a_string_is_left_alone() -> None:
    name = rb'say \"orderNo\": 7-7, or "'
    raw = b'{"note": "' + name + b', "orderNo": 1000-4612, "type": "new_order", "x": "{\\"orderNo\\": 1-2}"}'
    repaired = wire.repair(raw)
    assert repaired == raw.replace(b" 1000-4612,", b' "1000-4612",')
    assert json.loads(repaired)["note"] == 'say "orderNo": 7-7, or '


def test_look_alike_deeper_down_is_left_alone() -> None:
    raw = b'{"orderNo": 1-2, "type": "new_order", "items": [{"orderNo": 3-4}]}'
    assert wire.repair(raw) == raw.replace(b"1-2", b'"1-2"')
    with pytest.raises(UnreadableError):  # that isn't the documented kind of broken
        describe(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"orderNo": "1000-4612"}',
        b'{"orderNo": 1000}',
        b'{"orderNo": -4612}',
        b'{"orderNo": 1000-}',
        b'{"orderNo": 1000-4612-1}',
        b'{"orderNo": 1000-4612 true}',
        b'{"orderNo": A-1}',
        b'[{"orderNo": 1-2}]',
        b'"orderNo": 1-2',
        b'{"order": 1-2}',
        b"",
    ],
)
def test_other_broken_json_is_not_repaired(raw: bytes) -> None:
    assert wire.repair(raw) is None


def test_repair_with_any_white_space() -> None:
    assert wire.repair(b'{"type":"new_order","orderNo"\n:\t1-2\r\n}') == b'{"type":"new_order","orderNo"\n:\t"1-2"\r\n}'


@pytest.mark.parametrize(
    ("sent", "key"), [(b'"1000-4612"', "1000-4612"), (b"4612", "4612"), (b'"004"', "004"), (b"1.50", "1.50")]
)
def test_order_number_as_text_or_number(sent: bytes, key: str) -> None:
    assert describe(CANCELLATION.replace(b'"1000-4612"', sent)).reading.key == key


@pytest.mark.parametrize("sent", [b'""', b"null", b"[]", b'"\\u0000"', b'"\\ud800"', b'"\xff"'])
def test_an_invalid_order_number_is_unreadable(sent: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"orderNo|business key"):
        describe(CANCELLATION.replace(b'"1000-4612"', sent))


def test_the_type_decides_what_the_items_mean() -> None:
    new, cancelled = describe(DOCUMENTED).reading, describe(CANCELLATION).reading
    assert (new.type, cancelled.type) == ("ecomnow.new_order", "ecomnow.order_cancellation")
    assert new.key == cancelled.key
    assert (new.flag_revised, cancelled.flag_revised) == (True, False)
    assert new.repeat_window == cancelled.repeat_window == 86_400
    assert cancelled.lines[0].quantity == 1


@pytest.mark.parametrize("sent", [b'"refund"', b'"NEW_ORDER"', b'""', b"null", b"1"])
def test_unknown_type_is_unreadable(sent: bytes) -> None:
    with pytest.raises(UnreadableError, match="`type`"):
        describe(CANCELLATION.replace(b'"order_cancellation"', sent))


def test_money_is_decimal_and_exact() -> None:
    [line] = describe(CANCELLATION.replace(b'"itemTotal": 60.0', b'"itemTotal": 60.10')).reading.lines
    assert (str(line.unit_price), str(line.total)) == ("60.0", "60.10")
    [line] = describe(
        CANCELLATION.replace(b'"itemTotal": 60.0', b'"itemTotal": 0.1000000000000000055511')
    ).reading.lines
    assert line.total == Decimal("0.1000000000000000055511")


def test_a_price_written_otherwise_is_another_content() -> None:
    assert describe(CANCELLATION).digest != describe(CANCELLATION.replace(b"60.0\n", b"60.00\n")).digest


def test_ampersand_in_a_sku_is_literal() -> None:
    assert describe(DOCUMENTED).reading.lines[0].article == "NHCBDFSJ&P20027-1"


def test_lines_have_positions_for_ids() -> None:
    raw = b'{"orderNo": "1", "type": "new_order", "items": [{"skuNr": "A"}, {"skuNr": "A"}]}'
    assert [(line.id, line.article) for line in describe(raw).reading.lines] == [("1", "A"), ("2", "A")]


def test_the_whole_authorization_is_compared() -> None:
    account = Account(authorizations=["Basic bmV3", "Basic b2xk"])

    def verify(value: str) -> str | None:
        return signing.verify(b"", CIMultiDict({"authorization": value}), MultiDict(), account)

    assert verify("Basic b2xk") == "Basic b2xk"
    assert verify("Basic bmV3") == "Basic bmV3"
    assert verify("basic  bmV3") == "Basic bmV3"  # RFC 9110 §11.1: the scheme in either case, one blank or more
    for wrong in ("", "Basic bmv3", "Basic bmV3 ", "bmV3", "Basic bmV", "Basic é", "Basic \ud800", "Basic ?"):
        assert verify(wrong) is None


def test_a_damaged_value_never_stands_for_a_question_mark() -> None:
    account = Account(authorizations=["Basic ?"])
    assert signing.verify(b"", CIMultiDict({"Authorization": "Basic \udcff"}), MultiDict(), account) is None


def test_repaired_body_encodes_again_without_loss() -> None:
    again = msgspec.json.encode(identity.decode("notification", DOCUMENTED))
    assert b"60.0" in again
    assert canonical.digest(again) == describe(DOCUMENTED).digest


def test_invalid_utf8_beside_the_identity_is_stored_and_flagged() -> None:
    raw = CANCELLATION.replace(b"NutraHemp", b"Nutra\xffHemp")
    document = describe(raw)
    assert document.flags == (documents.NOT_JSON,)
    assert (document.body, document.data) == (None, None)
    assert document.reading.lines[0].name == "Nutra\ufffdHemp CBD Full Spectrum Joint and Pain Balm"
    assert document.digest != describe(raw.replace(b"\xff", b"\xfe")).digest
