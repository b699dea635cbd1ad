"""Each dialect by its own receiver's rules."""

import hashlib
import hmac
import json
import pkgutil
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

import schemas.dialects
from schemas.dialects import dialects, ecomnow, get_dialect, standard
from schemas.outbound import Credentials, Event, UntranslatableError
from schemas.platforms.ecomnow import identity as ecomnow_identity
from tests.support.events import EVERY, NOW, event


def test_a_dialect_is_one_file() -> None:
    names = sorted(module.name for module in pkgutil.iter_modules(schemas.dialects.__path__))
    assert list(dialects()) == names
    with pytest.raises(LookupError, match=f"known: {', '.join(names)}"):
        get_dialect("soap")


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        pytest.param(name, sample, id=f"{name}-{sample.type}")
        for name, dialect in dialects().items()
        for sample in EVERY
        if dialect.supports(sample.type)
    ],
)
def test_every_supported_event_becomes_a_valid_request(name: str, sample: Event) -> None:
    dialect = get_dialect(name)
    secret = dialect.make_secret() if dialect.make_secret else "none"
    assert dialect.make_secret is None or dialect.check_secret(secret) is None
    request = dialect.request(
        sample, Credentials(secrets=(secret,), query_key="token", authorization="Basic eA=="), NOW
    )
    assert sample.id in request.headers.values()
    if name != "channelape":  # which hands on what it got, as it got it
        json.loads(request.body)
    for value in request.headers.values():
        assert secret not in value


@pytest.mark.parametrize("sample", EVERY, ids=lambda sample: sample.type)
def test_standard_is_verified_by_the_official_package(sample: Event) -> None:
    new, old, other = (standard.make_secret() for _ in range(3))
    now = int(time.time())  # the package refuses signatures more than five minutes old
    for secrets in ((new,), (new, old)):
        request = standard.request(sample, Credentials(secrets=secrets), now)
        for secret in secrets:
            decoded = Webhook(secret).verify(request.body, request.headers)
            assert (decoded["id"], decoded["subject"], decoded["version"]) == (sample.id, sample.key, 2)
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(request.body, request.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(request.body + b" ", request.headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_!!!", "A" * 44, "whsec_" + "A" * 200])
def test_standard_secrets_are_checked(secret: str) -> None:
    assert "whsec_ and the base64 of 24 to 64 bytes" in (standard.check_secret(secret) or "")


def test_channelape_puts_its_secret_in_the_query_and_the_document_as_received() -> None:
    sample = event("channelape", "receipt_confirmation")
    request = get_dialect("channelape").request(sample, Credentials(secrets=("s&=?",), query_key="token"), NOW)
    assert (request.body, request.query) == (sample.raw, (("token", "s&=?"),))
    dialect = get_dialect("channelape")
    assert (dialect.newest, dialect.forever) == (True, True)
    assert (399 in dialect.success, 400 in dialect.success, 200 in dialect.success) == (True, False, True)


def _documented_receiver(body: bytes, signature: str, secret: str) -> bool:
    """apicbase-webhook.txt, with its key as bytes: as text, Python refuses it."""
    message = json.dumps(json.loads(body)).encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest() == signature


def test_apicbase_is_verified_by_the_documented_receiver() -> None:
    sample = event("apicbase", "purchase_order")
    request = get_dialect("apicbase").request(sample, Credentials(secrets=("new", "old")), NOW)
    assert request.body == sample.raw
    assert _documented_receiver(request.body, request.headers["X-APIC-WEBHOOK-SIGNATURE"], "new")
    assert not _documented_receiver(request.body, request.headers["X-APIC-WEBHOOK-SIGNATURE"], "old")


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers(-9, 9), max_size=4))
def test_apicbase_signs_the_bytes_that_are_sent(more: dict[str, Any]) -> None:
    raw = json.dumps({"id": "1", **{f"x-{name}": value for name, value in more.items()}}, ensure_ascii=False).encode()
    sample = event("apicbase", "purchase_order", raw)
    request = get_dialect("apicbase").request(sample, Credentials(secrets=("s",)), NOW)
    assert request.headers["X-APIC-WEBHOOK-SIGNATURE"] == hmac.new(b"s", request.body, hashlib.sha256).hexdigest()


def test_ecomnow_goes_on_byte_for_byte_or_repaired() -> None:
    whole = b'{ "orderNo": "1000-4612", "type": "new_order", "items": [{"skuNr": "A&B", "itemPrice": 60.0}] }'
    broken = whole.replace(b'"1000-4612"', b"1000-4612")
    credentials = Credentials(authorization="Basic c2hvcDpzZWNyZXQ=")
    for raw in (whole, broken):
        request = get_dialect("ecomnow").request(event("ecomnow", "notification", raw), credentials, NOW)
        assert request.body == whole
        assert request.headers["Authorization"] == "Basic c2hvcDpzZWNyZXQ="
    assert (
        "Authorization"
        not in get_dialect("ecomnow").request(event("ecomnow", "notification"), Credentials(), 0).headers
    )


def test_a_purchase_order_as_a_new_order() -> None:
    """The stored example, by hand."""
    request = get_dialect("ecomnow").request(event("apicbase", "purchase_order"), Credentials(), NOW)
    assert request.body.decode() == (
        '{"orderNo":"PO-2026-00817","type":"new_order","items":['
        '{"skuNr":"ART-1","itemName":"Crème fraîche 35 %, 1 L","itemQuantity":12,"itemPrice":4.1500,'
        '"itemTotal":49.8000},'
        '{"skuNr":"ART-2","itemName":"Vine tomatoes, 5 kg","itemQuantity":3,"itemPrice":11.90,"itemTotal":35.70}]}'
    )


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**30).map(lambda d: f"{d:f}")


@given(
    number=st.from_regex("[ABC0-9-]{0,6}[ABC1-9][ABC0-9-]{0,5}", fullmatch=True),
    lines=st.lists(
        st.tuples(
            st.from_regex("[ABC&é-]{0,3}[ABCé][ABC&é-]{0,2}", fullmatch=True),
            st.text(max_size=9),
            DECIMALS,
            DECIMALS,
            DECIMALS,
        ),
        max_size=4,
    ),
)
def test_money_and_quantities_come_out_exact(number: str, lines: list[tuple[str, str, str, str, str]]) -> None:
    packages = [
        {
            "stock_item": {"name": name},
            "supplier_package": {"supplier_article_number": article, "theoretical_price_per_package": price},
            "quantity_ordered": quantity,
            "total_theoretical_price": total,
        }
        for article, name, quantity, price, total in lines
    ]
    raw = json.dumps({"id": "1", "order_number": number, "packages": packages}).encode()
    body = ecomnow.translate("apicbase.purchase_order", raw)
    decoded = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    assert decoded["orderNo"] == number
    for item, (article, _, *numbers) in zip(decoded["items"], lines, strict=True):
        assert item["skuNr"] == article
        assert [str(item[name]) for name in ("itemQuantity", "itemPrice", "itemTotal")] == [
            str(Decimal(value)) for value in numbers
        ]
    reading = ecomnow_identity.read("notification", body)
    assert (reading.type, reading.order_number) == ("ecomnow.new_order", number)
    assert [line.unit_price for line in reading.lines] == [Decimal(price) for _, _, _, price, _ in lines]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"id": "1", "packages": [{"quantity_ordered": 1}]}', "line 1 of the purchase order has no article number"),
        (
            b'{"id": "1", "packages": [{"supplier_package": {"supplier_article_number": "A"}}]}',
            "line 1 of the purchase order has no quantity",
        ),
        (b"[]", "can't be read"),
    ],
)
def test_an_event_that_cannot_be_translated_is_an_error(raw: bytes, why: str) -> None:
    with pytest.raises(UntranslatableError, match=why):
        ecomnow.translate("apicbase.purchase_order", raw)


def test_credentials_show_nothing() -> None:
    assert "hush" not in repr(Credentials(secrets=("hush",), authorization="hush", query_key="k"))
