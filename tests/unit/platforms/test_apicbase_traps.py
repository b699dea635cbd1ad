"""Apicbase: a test for every trap of its documents, by name."""

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict

from schemas import canonical, documents, registry
from schemas.documents import Document
from schemas.platform import UnreadableError
from schemas.platforms.apicbase import PLATFORM, identity, refusal, signing
from schemas.platforms.apicbase.config import Account

EXAMPLE = registry.example("apicbase", "purchase_order")
ACCOUNT = Account(secrets=["new", "old"])


def hexdigest(message: bytes, key: str = "new") -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


def verify(raw: bytes, signature: str, account: Account = ACCOUNT) -> str | None:
    return signing.verify(raw, CIMultiDict({"x-apic-webhook-signature": signature}), MultiDict(), account)


def order(**changes: Any) -> bytes:
    return json.dumps(json.loads(EXAMPLE) | changes).encode()


def describe(raw: bytes) -> Document:
    return documents.describe(PLATFORM, "purchase_order", raw)


def test_signature_over_the_raw_bytes() -> None:
    raw = b'{"id":"1","price":1.10,"name":"cr\xc3\xa8me"}'
    assert verify(raw, hexdigest(raw)) == "new"


def test_redumped_signature_is_the_second_chance() -> None:
    raw = b'{"id":"1","price":1.10,"much":1e2,"name":"cr\xc3\xa8me","id":"2"}'
    dumped = json.dumps(json.loads(raw)).encode()
    assert dumped == b'{"id": "2", "price": 1.1, "much": 100.0, "name": "cr\\u00e8me"}'
    assert verify(raw, hexdigest(dumped)) == "new"
    assert verify(raw, hexdigest(dumped, "old")) == "old"
    assert verify(raw, hexdigest(dumped, "neither")) is None
    assert verify(raw, hexdigest(dumped + b" ")) is None


def test_the_example_is_what_pythons_json_writes() -> None:
    """So that its signature over the raw bytes and the documented snippet's agree."""
    assert json.dumps(json.loads(EXAMPLE)).encode() == EXAMPLE


def test_signature_hexadecimal_in_either_case() -> None:
    assert verify(EXAMPLE, hexdigest(EXAMPLE).upper()) == "new"


def test_each_of_two_secrets_verifies() -> None:
    assert verify(EXAMPLE, hexdigest(EXAMPLE, "new")) == "new"
    assert verify(EXAMPLE, hexdigest(EXAMPLE, "old")) == "old"
    assert verify(EXAMPLE, hexdigest(EXAMPLE, "older")) is None


@pytest.mark.parametrize("signature", ["", "é" * 64, "\ud800" * 64, "0" * 63, "g" * 64, "İ" * 64])
def test_an_invalid_signature_is_refused(signature: str) -> None:
    assert verify(EXAMPLE, signature) is None


def test_a_request_without_a_signature_is_refused() -> None:
    assert signing.verify(EXAMPLE, CIMultiDict(), MultiDict(), ACCOUNT) is None


def test_invalid_utf8_in_an_unused_field_makes_the_body_unreadable() -> None:
    """msgspec skips unknown fields without looking: verdict and store must say the same of such a body."""
    raw = EXAMPLE.replace(b'{"id"', b'{"unknown": "\xff", "id"')
    with pytest.raises(UnreadableError, match="UTF-8"):
        refusal.refusal(raw, ACCOUNT)
    with pytest.raises(UnreadableError, match="UTF-8"):
        describe(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
        b'"\\ud800"',
        b"1e400",
        b"NaN",
        b"\xff\xfe{\x00}\x00",
    ],
    ids=["empty", "no UTF-8", "deep", "long integer", "surrogate", "overflow", "NaN", "UTF-16"],
)
def test_bodies_that_cannot_be_dumped_again(raw: bytes) -> None:
    assert verify(raw, "0" * 64) is None
    assert verify(raw, hexdigest(raw)) == "new"


def test_a_wrong_signature_is_answered_403() -> None:
    assert PLATFORM.unauthorized == 403


def test_prices_are_exact_decimal_strings() -> None:
    [cream, tomatoes] = describe(EXAMPLE).reading.lines
    assert (cream.quantity, cream.unit_price, cream.total) == (Decimal(12), Decimal("4.1500"), Decimal("49.8000"))
    assert str(cream.unit_price) == "4.1500"
    assert str(tomatoes.total) == "35.70"
    assert (cream.id, cream.article, cream.name) == ("1", "ART-1", "Crème fraîche 35 %, 1 L")
    again = msgspec.json.encode(identity.decode("purchase_order", EXAMPLE))
    assert b'"4.1500"' in again


@pytest.mark.parametrize("name", ["owned_by", "order_remarks", "expected_delivery_date", "packages"])
def test_null_stays_null_and_absent_stays_absent(name: str) -> None:
    null = order(**{name: None})
    assert json.loads(msgspec.json.encode(identity.decode("purchase_order", null)))[name] is None
    without = json.dumps({k: v for k, v in json.loads(EXAMPLE).items() if k != name}).encode()
    assert name not in json.loads(msgspec.json.encode(identity.decode("purchase_order", without)))
    assert describe(null).digest != describe(without).digest


@pytest.mark.parametrize(
    "moment", ["2026-11-02T08:41:27+01:00", "2026-11-02T08:41:27Z", "2026-11-02 08:41", "tomorrow"]
)
def test_datetimes_of_any_format_are_kept_as_sent(moment: str) -> None:
    assert describe(order(ordered_on=moment)).reading.placed_at == moment


def test_same_id_same_content_is_the_same() -> None:
    first, again = describe(EXAMPLE), describe(json.dumps(json.loads(EXAMPLE), indent=3, sort_keys=True).encode())
    assert (first.reading.key, first.digest) == (again.reading.key, again.digest)


def test_same_id_changed_content_is_a_new_version() -> None:
    first, edited = describe(EXAMPLE), describe(order(order_remarks="Two boxes more, please"))
    assert first.reading.key == edited.reading.key
    assert first.digest != edited.digest
    assert edited.reading.flag_revised


def test_ids_sent_as_numbers_are_read_as_text() -> None:
    assert describe(order(id=4711)).reading.key == "4711"
    assert describe(order(id="004711")).reading.key == "004711"


@pytest.mark.parametrize("missing", [None, "", "  ", [], {}, True])
def test_order_without_an_id_is_unreadable(missing: Any) -> None:
    with pytest.raises(UnreadableError, match="`id` is missing"):
        describe(order(id=missing))
    with pytest.raises(UnreadableError, match="`id` is missing"):
        refusal.refusal(order(id=missing), ACCOUNT)


def test_a_quantity_that_is_not_a_number_is_none() -> None:
    quantities: list[Any] = ["many", None, "1_000", "NaN", "1e99999", [], "2.50", 3, 0.1]
    packages = [{"quantity_ordered": quantity} for quantity in quantities]
    lines = describe(order(packages=packages)).reading.lines
    assert [line.quantity for line in lines] == [None] * 6 + [Decimal("2.50"), Decimal(3), Decimal("0.1")]


def test_bodies_that_are_not_json_wait_for_no_verdict() -> None:
    """Its customer is told 400 by the route worker, so it must not be stored as an order either."""
    with pytest.raises(UnreadableError, match="not JSON"):
        describe(EXAMPLE.replace(b"tomatoes", b"tomat\xff"))
    with pytest.raises(UnreadableError, match="not JSON"):
        refusal.refusal(EXAMPLE.replace(b"tomatoes", b"tomat\xff"), ACCOUNT)


@pytest.mark.parametrize(
    "odd", [b'"\\ud800"', b"9" * 5000, b"[" * 5000 + b"]" * 5000], ids=["surrogate", "digits", "deep"]
)
def test_odd_json_is_an_order_for_verdict_and_store_alike(odd: bytes) -> None:
    raw = EXAMPLE.replace(b'"Deliver at the back door, before 07:30."', odd)
    assert refusal.refusal(raw, ACCOUNT) is None
    assert describe(raw).flags[:1] == (documents.NOT_JSONB,)


def package(article: Any, quantity: Any = 1) -> dict[str, Any]:
    supplied = None if article is None else {"supplier_article_number": article}
    return {"supplier_package": supplied, "quantity_ordered": quantity}


class TestRefusal:
    account = Account(secrets=["s"], customers=["C-1001"], articles=["ART-1", "ART-2"])

    def test_an_order_with_known_customer_and_articles_is_accepted(self) -> None:
        assert refusal.refusal(EXAMPLE, self.account) is None

    def test_nothing_configured_refuses_nothing(self) -> None:
        assert refusal.refusal(order(supplier_customer_number=None), ACCOUNT) is None

    def test_an_unknown_customer_number_is_refused(self) -> None:
        refused = refusal.refusal(order(supplier_customer_number="C-9"), self.account)
        assert refused is not None
        assert refused.detail == 'The customer number "C-9" is not known to the supplier.'

    def test_an_order_without_a_customer_number_is_refused(self) -> None:
        assert (
            str(refusal.refusal(order(supplier_customer_number=""), self.account))
            == "The order has no customer number."
        )

    def test_unknown_article_numbers_are_named_once_each(self) -> None:
        packages = [package(n) for n in ("ART-7", "ART-1", "ART-8", "ART-7")]
        refused = refusal.refusal(order(packages=packages), self.account)
        assert refused is not None
        assert refused.detail == 'The article numbers "ART-7", "ART-8" are not known to the supplier.'

    def test_customer_article_and_unnumbered_line_in_one_answer(self) -> None:
        packages = [package("X"), package(None)]
        refused = refusal.refusal(order(packages=packages, supplier_customer_number="C-9"), self.account)
        assert refused is not None
        assert refused.detail.splitlines() == [
            'The customer number "C-9" is not known to the supplier. The article number "X" is not known to the '
            "supplier. No article number in line 2."
        ]

    def test_a_refusal_names_ten_unknown_articles_and_counts_the_others(self) -> None:
        packages = [package(f"X-{n}") for n in range(100)]
        refused = refusal.refusal(order(packages=packages), self.account)
        assert refused is not None
        assert '"X-9" and 90 more are not known' in refused.detail

    def test_numbers_as_numbers_are_their_text(self) -> None:
        account = Account(secrets=["s"], customers=["17"], articles=["4"])
        packages = [package(4)]
        assert refusal.refusal(order(packages=packages, supplier_customer_number=17), account) is None

    def test_an_empty_list_would_refuse_everything(self) -> None:
        with pytest.raises(msgspec.ValidationError, match="leave it out"):
            msgspec.convert({"secrets": ["s"], "articles": []}, Account)


def test_digest_of_the_example_survives_a_round_trip() -> None:
    assert canonical.digest(msgspec.json.encode(identity.decode("purchase_order", EXAMPLE))) == canonical.digest(
        EXAMPLE
    )
