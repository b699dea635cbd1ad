"""A signature check takes as long for a guess that is nearly right as for one that is wrong from its start."""

import hmac

import pytest
from multidict import CIMultiDict, MultiDict

from schemas import registry
from schemas.platform import Platform
from tests.attacks import timing
from tests.contract.checks import account_of

RAW = b'{"a": 1}'
TRIES = 3
"""Attempts: other work may disturb one side of a measurement, while a check that leaks does so every time."""
SMALL = 0.02
"""Share of the check's time: too small for any network, and less than a byte-by-byte comparison takes."""
LONG = "channelape-secret-that-is-as-long-as-people-make-them-0123456789abcdef" * 3


def leaks(check: timing.Check, right: str) -> bool:
    """Return whether a nearly right credential takes longer in every attempt."""
    for seed in range(TRIES):
        difference, chance = timing.slope(check, right, seed)
        if difference < max(chance, SMALL):
            return False
    return True


@pytest.mark.busy_thread
@pytest.mark.parametrize("platform", registry.platforms().values(), ids=lambda platform: platform.name)
def test_a_check_takes_equally_long_for_any_wrong_credential(platform: Platform) -> None:
    account = account_of(platform)
    signed = platform.sign(RAW, account)
    [(name, right)] = [*signed.headers.items(), *signed.query.items()]

    def check(credential: str) -> object:
        headers = CIMultiDict({name: credential} if signed.headers else {})
        return platform.verify(RAW, headers, MultiDict({name: credential} if signed.query else {}), account)

    assert check(right)
    assert not leaks(check, right)


@pytest.mark.busy_thread
def test_a_naive_check_is_detected() -> None:
    def naive(credential: str) -> object:
        for sent, other in zip(credential, LONG, strict=True):
            if sent != other:
                return None
        return LONG

    def constant(credential: str) -> object:
        return hmac.compare_digest(credential, LONG)

    assert leaks(naive, LONG)
    assert not leaks(constant, LONG)
