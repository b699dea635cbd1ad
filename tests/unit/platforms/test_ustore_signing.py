"""X-Signature: base64 (or hex) of HMAC-SHA512 over the raw bytes, for requests, answers and errors alike."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict

from schemas import registry
from schemas.platforms.ustore import signing
from schemas.platforms.ustore.config import Account

RAW = registry.example("ustore", "manufacturer_allocation")
QUERY: MultiDict[str] = MultiDict()


def account(**more: Any) -> Account:
    return msgspec.convert({"secrets": ["new", "old"], **more}, Account)


def digest(secret: str, raw: bytes = RAW) -> bytes:
    return hmac.new(secret.encode(), raw, hashlib.sha512).digest()


def verify(signature: str, settings: Account, raw: bytes = RAW) -> str | None:
    return signing.verify(raw, CIMultiDict({"x-signature": signature}), QUERY, settings)


@pytest.mark.parametrize("secret", ["new", "old"])
def test_verifying_returns_the_matching_secret(secret: str) -> None:
    assert verify(base64.b64encode(digest(secret)).decode(), account()) == secret


@pytest.mark.parametrize("write", [str.lower, str.upper])
def test_hex_in_either_case_where_it_is_configured(write: Any) -> None:
    hexadecimal = write(digest("old").hex())
    assert verify(hexadecimal, account(signature_encoding="hex")) == "old"
    assert verify(hexadecimal, account()) is None
    assert verify(base64.b64encode(digest("old")).decode(), account(signature_encoding="hex")) is None


def test_base64_keeps_its_case() -> None:
    signature = base64.b64encode(digest("new")).decode()
    assert verify(signature.swapcase(), account()) is None


@pytest.mark.parametrize(
    "wrong", ["", " ", "x", "é", "\udcff", "=" * 88, "a" * 100_000, base64.b64encode(b"").decode()]
)
@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_an_invalid_signature_matches_no_secret_and_raises_nothing(wrong: str, encoding: str) -> None:
    assert verify(wrong, account(signature_encoding=encoding)) is None


def test_a_missing_header_fits_nothing() -> None:
    assert signing.verify(RAW, CIMultiDict(), QUERY, account()) is None


def test_one_flipped_byte_fits_nothing() -> None:
    signature = base64.b64encode(digest("new")).decode()
    assert verify(signature, account(), RAW[:-2] + b" \n") is None
    assert verify(signature, account(), RAW) == "new"


def test_the_signature_is_over_the_bytes_not_over_parsed_json() -> None:
    spaced = RAW.replace(b":", b": ")
    assert verify(base64.b64encode(digest("new")).decode(), account(), spaced) is None


@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_a_signature_that_we_make_as_ustore_is_accepted(encoding: str) -> None:
    settings = account(signature_encoding=encoding)
    assert signing.verify(RAW, CIMultiDict(signing.sign(RAW, settings).headers), QUERY, settings) == "new"


def test_an_answer_is_signed_with_the_secret_that_fitted_the_request() -> None:
    body = b'{"3087":"2"}'
    assert signing.sign_answer(body, "old", account()) == {
        "X-Signature": base64.b64encode(digest("old", body)).decode()
    }
    assert signing.sign_answer(body, "old", account(signature_encoding="hex")) == {
        "X-Signature": digest("old", body).hex()
    }


def test_the_signature_is_that_of_rfc_4231() -> None:
    settings = msgspec.convert({"secrets": ["Jefe"], "signature_encoding": "hex"}, Account)
    # RFC 4231, test case 2
    assert signing.sign(b"what do ya want for nothing?", settings).headers["X-Signature"].startswith("164b7a7bfcf819e2")
