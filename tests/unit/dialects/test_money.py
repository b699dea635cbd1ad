"""Money in eComNow's notification: the digits that Apicbase sent, whatever they are, as a JSON number."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import lenient
from schemas.dialects import ecomnow, get_dialect
from schemas.outbound import Credentials
from schemas.platforms.apicbase import identity as apicbase_identity
from schemas.platforms.ecomnow import identity as ecomnow_identity
from tests.support.events import NOW, event

LONG = "123456789012345678901234567890"
"""30 digits: a float keeps 17 of them, the decimal context of a fresh interpreter 28."""


def purchase_order(*prices: object, total: object = "1") -> bytes:
    packages = [
        {
            "stock_item": {"name": "Salt"},
            "supplier_package": {"supplier_article_number": f"ART-{n}", "theoretical_price_per_package": price},
            "quantity_ordered": n,
            "total_theoretical_price": total,
        }
        for n, price in enumerate(prices, 1)
    ]
    return json.dumps({"id": "65f1", "order_number": "PO-1", "packages": packages}).encode()


@pytest.mark.parametrize(
    "digits", ["1.10", "0.1", "0.10", "0", "0.00", "100", "9007199254740993", LONG, f"{LONG}.10", f"0.{LONG}"]
)
def test_every_digit_stays(digits: str) -> None:
    """Compared as text: as floats, and even as decimals, 1.10 is 1.1."""
    assert ecomnow.translate("apicbase.purchase_order", purchase_order(digits, total=digits)).decode() == (
        '{"orderNo":"PO-1","type":"new_order","items":[{"skuNr":"ART-1","itemName":"Salt","itemQuantity":1,'
        f'"itemPrice":{digits},"itemTotal":{digits}}}]}}'
    )


def test_three_times_a_tenth_is_three_tenths() -> None:
    body = ecomnow.translate("apicbase.purchase_order", purchase_order("0.1", "0.1", "0.1"))
    expected = json.loads(body, parse_float=Decimal)
    assert sum(item["itemPrice"] for item in expected["items"]) == Decimal("0.3")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("+1.50", "1.50"), (".50", "0.50"), ("1.", "1"), (" 1.10 ", "1.10"), ("1e2", "100"), ("-2.50", "-2.50")],
)
def test_a_decimal_that_is_not_a_json_number_becomes_one(sent: str, expected: str) -> None:
    assert f'"itemPrice":{expected},' in ecomnow.translate("apicbase.purchase_order", purchase_order(sent)).decode()


SENT = st.one_of(
    st.from_regex(r"\A[+-]?[0-9]{1,40}(\.[0-9]{0,60})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
# Quotes, backslashes, controls and what lies beyond the BMP: all that JSON escapes. Lone surrogates are no UTF-8.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ARTICLE = TEXT.filter(lambda text: lenient.identifier(text) is not None)
ORDER_NUMBER = ARTICLE.filter(lambda text: not {"\x00", "\ufffd"} & set(text) and lenient.reference(text) == text)


@given(order_number=ORDER_NUMBER, lines=st.lists(st.tuples(ARTICLE, TEXT, SENT, SENT, SENT), max_size=4))
def test_any_order_reads_back_the_same(order_number: str, lines: list[tuple[Any, ...]]) -> None:
    """By the reader of eComNow's own notifications, from the request as it is posted."""
    packages = [
        {
            "stock_item": {"name": name},
            "supplier_package": {"supplier_article_number": article, "theoretical_price_per_package": price},
            "quantity_ordered": quantity,
            "total_theoretical_price": total,
        }
        for article, name, quantity, price, total in lines
    ]
    raw = json.dumps({"id": "65f1", "order_number": order_number, "packages": packages}).encode()
    try:
        sample = event("apicbase", "purchase_order", raw)
        ordered = apicbase_identity.read("purchase_order", raw)
        if any(line.quantity is None for line in ordered.lines):  # beyond the digits that a number may have
            return
    except ValueError:  # names longer than any index takes: never stored, so never told
        return
    body = get_dialect("ecomnow").request(sample, Credentials(), NOW).body
    json.loads(body)
    reading = ecomnow_identity.read("notification", body)
    assert (reading.type, reading.key) == ("ecomnow.new_order", lenient.identifier(order_number) or "65f1")
    assert reading.lines == ordered.lines
