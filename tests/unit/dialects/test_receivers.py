"""Bodies that receivers get byte for byte, and what they check them with."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from schemas.dialects import get_dialect, standard
from schemas.outbound import Credentials, Event, UntranslatableError
from tests.support.events import EVERY, NOW, event

HEADER = "X-APIC-WEBHOOK-SIGNATURE"
ORDER = event("apicbase", "purchase_order")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def sent(body: bytes) -> tuple[bytes, str]:
    """What is sent of a purchase order with this body, and its header; whether it is one doesn't matter to either."""
    sample = msgspec.structs.replace(ORDER, raw=body, data=None)
    request = get_dialect("apicbase").request(sample, Credentials(secrets=("new", "old")), 0)
    assert request.headers["X-Crossdock-Id"] == ORDER.id
    return request.body, request.headers[HEADER]


def documented(body: bytes, signature: str, secret: bytes) -> bool:
    """apicbase-webhook.txt, with its key as bytes: as text, Python's HMAC refuses it."""
    return signature == hmac.HMAC(key=secret, msg=json.dumps(json.loads(body)).encode(), digestmod="sha256").hexdigest()


def over_the_bytes(body: bytes, signature: str, secret: bytes) -> bool:
    return hmac.compare_digest(hmac.new(secret, body, hashlib.sha256).hexdigest(), signature)


@given(JSON)
def test_the_documented_receiver_accepts_bodies_written_by_pythons_json(value: Any) -> None:
    body = json.dumps(value).encode()
    assert body == json.dumps(json.loads(body)).encode()
    request, signature = sent(body)
    assert request == body or "\\ud" in body.decode()
    assert documented(request, signature, b"new")
    assert not documented(request, signature, b"old")


@given(st.binary(max_size=64))
def test_a_receiver_over_the_bytes_takes_anything(body: bytes) -> None:
    request, signature = sent(body)
    assert over_the_bytes(request, signature, b"new")
    assert not over_the_bytes(request + b" ", signature, b"new")


@pytest.mark.parametrize("body", [b'{"a":1}', '{"a": "é"}'.encode(), b'{\n "b": 2, "a": [1.5, null] }', b"[1,2]"])
def test_bodies_in_another_notation_are_sent_as_python_writes_them(body: bytes) -> None:
    """Finding 30: the documented receiver hashes `json.dumps(request.data)`; no value is another."""
    request, signature = sent(body)
    assert json.loads(request) == json.loads(body)
    assert documented(request, signature, b"new")
    assert over_the_bytes(request, signature, b"new")


@pytest.mark.parametrize(
    "body", [b'{"a": 1.10}', b'{"a":1e2}', b'{"a": 1, "a": 2}', b'{"a":{"b":1,"b":1}}', b'{"a":0.10}']
)
def test_bodies_that_python_would_change_are_sent_as_received(body: bytes) -> None:
    """FACTS: dumping again changes these, so a receiver must hash what it got."""
    request, signature = sent(body)
    assert request == body
    assert over_the_bytes(request, signature, b"new")
    assert not documented(request, signature, b"new")


@pytest.mark.parametrize("sample", EVERY, ids=lambda sample: sample.type)
def test_channelape_is_every_body_as_received(sample: Event) -> None:
    request = get_dialect("channelape").request(sample, Credentials(secrets=("s",), query_key="token"), NOW)
    assert request.body is sample.raw
    assert request.headers == {"Content-Type": "application/json", "X-Crossdock-Id": sample.id}


@pytest.mark.parametrize(
    "sample", [sample for sample in EVERY if sample.platform == "ecomnow"], ids=lambda sample: sample.key
)
def test_ecomnow_is_every_notification_as_received_or_repaired(sample: Event) -> None:
    request = get_dialect("ecomnow").request(sample, Credentials(), NOW)
    assert request.body == sample.raw.replace(b" 1000-4612,", b' "1000-4612",')
    assert isinstance(json.loads(request.body)["orderNo"], str)


def test_unrepairable_bodies_are_not_sent_to_ecomnow() -> None:
    sample = msgspec.structs.replace(event("ecomnow", "notification"), raw=b"{", data=None)
    with pytest.raises(UntranslatableError, match="not JSON"):
        get_dialect("ecomnow").request(sample, Credentials(), NOW)


def test_standard_signs_bodies_that_are_not_json() -> None:
    sample = msgspec.structs.replace(event("channelape", "receipt_confirmation"), raw=b"\xff{", data=None)
    secret = standard.make_secret()
    request = standard.request(sample, Credentials(secrets=(secret,)), int(time.time()))
    verified = Webhook(secret).verify(request.body, request.headers)
    assert base64.b64decode(verified["data_base64"]) == b"\xff{"
    assert request.headers["Content-Type"] == "application/cloudevents+json"


@pytest.mark.parametrize("size", [24, 32, 64])
def test_standard_takes_secrets_of_the_specified_lengths(size: int) -> None:
    secret = "whsec_" + base64.b64encode(b"\xfb" * size).decode()
    assert standard.check_secret(secret) is None
    request = standard.request(ORDER, Credentials(secrets=(secret,)), int(time.time()))
    assert request.headers["webhook-signature"].count("v1,") == 1
    Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize("size", [0, 23, 65])
def test_standard_refuses_others_without_showing_them(size: int) -> None:
    secret = "whsec_" + base64.b64encode(b"\xfb" * size).decode()
    wrong = standard.check_secret(secret)
    assert wrong is not None
    assert secret.removeprefix("whsec_") not in wrong or size == 0
