"""Secrets are encrypted at rest."""

import base64

import pytest

from storage.vault import UndecryptableError, Vault

OLD, NEW = Vault.generate(), Vault.generate()
ABOUT = b"subscription 1"


def test_sealed_texts_can_be_opened_and_differ_each_time() -> None:
    vault = Vault.from_text(NEW)
    first, two = vault.encrypt(b"secret", ABOUT), vault.encrypt(b"secret", ABOUT)
    assert first != two
    assert b"secret" not in first
    assert vault.decrypt(first, ABOUT) == vault.decrypt(two, ABOUT) == b"secret"


def test_keys_rotate() -> None:
    sealed = Vault.from_text(OLD).encrypt(b"secret", ABOUT)
    both = Vault.from_text(f" {NEW} ,{OLD}\n")
    assert both.decrypt(sealed, ABOUT) == b"secret"
    assert both.needs_rotation(sealed)
    again = both.encrypt(b"secret", ABOUT)
    assert not both.needs_rotation(again)
    assert Vault.from_text(NEW).decrypt(again, ABOUT) == b"secret"
    with pytest.raises(UndecryptableError, match="add it behind the first"):
        Vault.from_text(NEW).decrypt(sealed, ABOUT)


def test_a_changed_byte_or_another_row_does_not_open() -> None:
    vault = Vault.from_text(NEW)
    sealed = vault.encrypt(b"secret", ABOUT)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(UndecryptableError):
            vault.decrypt(bytes(changed), ABOUT)
    for end in range(len(sealed)):
        with pytest.raises(UndecryptableError):
            vault.decrypt(sealed[:end], ABOUT)
    with pytest.raises(UndecryptableError, match="another row"):
        vault.decrypt(sealed, b"subscription 2")


@pytest.mark.parametrize(
    "text",
    ["", "abc", ",", "not base64!", base64.b64encode(b"short").decode(), pytest.param(f"{NEW},x", id="a key and none")],
)
def test_invalid_keys_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="one or more base64 keys of 32 bytes") as caught:
        Vault.from_text(text)
    assert NEW not in str(caught.value)


def test_a_key_is_read_in_either_base64_alphabet() -> None:
    key = base64.b64encode(b"\xfb\xff" * 16).decode()
    sealed = Vault.from_text(key).encrypt(b"x", ABOUT)
    assert Vault.from_text(key.replace("+", "-").replace("/", "_")).decrypt(sealed, ABOUT) == b"x"
    assert key not in repr(Vault.from_text(key))
