"""A signature fits what was signed and nothing else, whatever comes."""

import json
import string

from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from schemas import registry
from schemas.platform import Event, Platform, Signed
from tests.contract.checks import accepts, account_of, changed, signs_bodies
from tests.support.bodies import BOUNDED, NASTY, known, mutated

PLATFORMS = list(registry.platforms().values())
anything = st.text(st.characters(), max_size=80) | st.text(string.hexdigits, min_size=64, max_size=64)
surrogates = st.text(st.characters(categories=["Cs"]), max_size=5)


@settings(BOUNDED, max_examples=800)
@given(
    st.sampled_from(known()).flatmap(lambda post: st.tuples(st.just(post), mutated(post[2]) | st.sampled_from(NASTY)))
)
def test_a_changed_body_is_refused(pair: tuple[tuple[Platform, Event, bytes], bytes]) -> None:
    (platform, _, body), other = pair
    account = account_of(platform)
    signed = platform.sign(body, account)
    assert accepts(platform, body, signed, account)
    fits = accepts(platform, other, signed, account) is not None
    if not signs_bodies(platform, account):
        assert fits
    elif platform.name == "apicbase":
        assert fits == (body in (other, _dumped(other)))
    else:
        assert fits == (body == other)


@settings(BOUNDED, max_examples=400)
@given(st.sampled_from(PLATFORMS), st.binary(max_size=200) | st.sampled_from(NASTY))
def test_any_signed_body_is_accepted(platform: Platform, raw: bytes) -> None:
    account = account_of(platform)
    assert accepts(platform, raw, platform.sign(raw, account), account) in platform.secrets(account)


@settings(BOUNDED, max_examples=600)
@given(st.sampled_from(PLATFORMS), anything | surrogates, st.binary(max_size=60) | st.sampled_from(NASTY))
def test_any_credential_but_the_right_one_is_refused(platform: Platform, value: str, raw: bytes) -> None:
    account = account_of(platform)
    signed = platform.sign(raw, account)
    assert accepts(platform, raw, changed(signed, lambda _: value), account) is None
    both = CIMultiDict([(name, value) for name in signed.headers] + list(signed.headers.items()))
    platform.verify(raw, both, MultiDict([(name, value) for name in signed.query]), account)
    twice = MultiDict([(name, value) for name in signed.query] + list(signed.query.items()))
    if signed.query:
        assert platform.verify(raw, CIMultiDict(), twice, account)


@settings(BOUNDED, max_examples=400)
@given(st.sampled_from(PLATFORMS), st.data())
def test_a_changed_credential_is_refused(platform: Platform, data: st.DataObject) -> None:
    raw = b'{"a": 1}'
    account = account_of(platform)
    signed = platform.sign(raw, account)
    [right, *_] = (signed.headers | signed.query).values()
    at = data.draw(st.integers(0, len(right) - 1))
    end = data.draw(st.integers(at, len(right)))
    value = right[:at] + data.draw(anything) + right[end:]
    fits = accepts(platform, raw, changed(signed, lambda _: value), account) is not None
    if value.strip() != right and value.lower() != right.lower():
        assert not fits
    if value == right:
        assert fits


@settings(BOUNDED, max_examples=200)
@given(st.sampled_from(PLATFORMS), st.dictionaries(anything, anything, max_size=3))
def test_unknown_headers_and_parameters_change_nothing(platform: Platform, more: dict[str, str]) -> None:
    account = account_of(platform)
    signed = platform.sign(b"{}", account)
    names = {name.lower() for name in signed.headers | signed.query}
    others = {name: value for name, value in more.items() if name.lower() not in names}
    assert accepts(platform, b"{}", Signed(headers=others, query=others), account) is None
    assert accepts(platform, b"{}", Signed(headers=others | signed.headers, query=others | signed.query), account)


def _dumped(raw: bytes) -> bytes | None:
    try:
        return json.dumps(json.loads(raw)).encode()
    except (ValueError, RecursionError):
        return None
