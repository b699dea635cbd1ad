"""The checks that every platform must pass with each of its examples. No platform is named here."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from multidict import CIMultiDict, MultiDict

from schemas import allocation, canonical, documents, registry
from schemas.envelope import Envelope
from schemas.platform import Event, Platform, Signed
from workers.route import answers

STRANGER = "another-secret"


class Case(msgspec.Struct, frozen=True):
    """One example of one event."""

    platform: Platform
    event: Event
    example: str

    @property
    def raw(self) -> bytes:
        return registry.example(self.platform.name, self.example)

    @property
    def account(self) -> Any:
        return account_of(self.platform)

    @property
    def expected(self) -> dict[str, Any]:
        """The entry of this example in `examples/expected.json`: type, key, flags, and the texts that find it."""
        expected: dict[str, Any] = json.loads(registry.example(self.platform.name, "expected"))[self.example]
        return expected

    def __str__(self) -> str:
        return f"{self.platform.name}-{self.example}"


def cases(name: str | None = None) -> list[Case]:
    """Return every example of every platform, or of the platform `name`."""
    return [
        Case(platform, event, example)
        for platform in registry.platforms().values()
        if name in (None, platform.name)
        for event in platform.events
        for example in event.examples
    ]


def account_of(platform: Platform, settings: dict[str, Any] | None = None) -> Any:
    """Return the demo account, or one with other settings."""
    return msgspec.convert(platform.demo[1] if settings is None else settings, platform.account)


def accepts(platform: Platform, raw: bytes, signed: Signed, account: Any) -> str | None:
    """Return the secret that verifies the request, as the ingress does."""
    return platform.verify(raw, CIMultiDict(signed.headers), MultiDict(signed.query), account)


def changed(signed: Signed, change: Callable[[str], str]) -> Signed:
    """Return `signed` with every value passed through `change`."""
    return Signed(
        headers={name: change(value) for name, value in signed.headers.items()},
        query={name: change(value) for name, value in signed.query.items()},
    )


def signs_bodies(platform: Platform, account: Any) -> bool:
    """Return whether its signature depends on the body: eComNow and ChannelApe only send a credential."""
    return platform.sign(b'{"a": 1}', account) != platform.sign(b'{"a": 2}', account)


def _with_secret(setting: Any, old: str, new: str) -> Any:
    if isinstance(setting, dict):
        return {name: _with_secret(value, old, new) for name, value in setting.items()}
    if isinstance(setting, list):
        return [_with_secret(value, old, new) for value in setting]
    return new if setting == old else setting


def _rotated(setting: Any, old: str, new: str) -> Any:
    """Return the setting in which a copy with `new` precedes the entries of every list that contains `old`."""
    if isinstance(setting, dict):
        return {name: _rotated(value, old, new) for name, value in setting.items()}
    if isinstance(setting, list):
        renewed = [_with_secret(value, old, new) for value in setting]
        return [*renewed, *setting] if renewed != setting else setting
    return setting


def accepted_when_signed(case: Case) -> None:
    signed = case.platform.sign(case.raw, case.account)
    assert accepts(case.platform, case.raw, signed, case.account) in case.platform.secrets(case.account)


def header_names_in_any_case(case: Case) -> None:
    signed = case.platform.sign(case.raw, case.account)
    shouted = Signed(headers={name.upper(): value for name, value in signed.headers.items()}, query=signed.query)
    assert accepts(case.platform, case.raw, shouted, case.account)


def refused_with_a_flipped_bit(case: Case) -> None:
    """Check that a changed credential is refused, and a changed body where bodies are signed."""
    signed = case.platform.sign(case.raw, case.account)
    if signs_bodies(case.platform, case.account):
        for position in range(len(case.raw)):
            body = bytearray(case.raw)
            body[position] ^= 1
            assert accepts(case.platform, bytes(body), signed, case.account) is None, f"byte {position}"
    for position in range(min(len(value) for value in (signed.headers | signed.query).values())):
        flipped = changed(signed, lambda v, p=position: v[:p] + chr(ord(v[p]) ^ 1) + v[p + 1 :])  # type: ignore[misc]
        assert accepts(case.platform, case.raw, flipped, case.account) is None, f"character {position}"


def refused_with_a_wrong_secret(case: Case) -> None:
    [secret, *_] = case.platform.secrets(case.account)
    stranger = account_of(case.platform, _with_secret(case.platform.demo[1], secret, STRANGER))
    assert accepts(case.platform, case.raw, case.platform.sign(case.raw, stranger), case.account) is None


def refused_when_empty_missing_or_not_ascii(case: Case) -> None:
    signed = case.platform.sign(case.raw, case.account)
    assert accepts(case.platform, case.raw, Signed(), case.account) is None
    for value in ("", " ", "ключ", "\udcff\udcfe", "\ud800", "\x00", "é" * 64, "a" * 100_000):
        assert accepts(case.platform, case.raw, changed(signed, lambda _, v=value: v), case.account) is None  # type: ignore[misc]


def every_rotated_secret_accepted(case: Case) -> None:
    [secret, *_] = case.platform.secrets(case.account)
    both = account_of(case.platform, _rotated(case.platform.demo[1], secret, STRANGER))
    renewed = account_of(case.platform, _with_secret(case.platform.demo[1], secret, STRANGER))
    assert {secret, STRANGER} <= set(case.platform.secrets(both))
    assert accepts(case.platform, case.raw, case.platform.sign(case.raw, case.account), both) == secret
    assert accepts(case.platform, case.raw, case.platform.sign(case.raw, renewed), both) == STRANGER


def encodes_again_without_loss(case: Case) -> None:
    repaired = case.platform.repair(case.raw) if case.platform.repair else None
    again = msgspec.json.encode(case.platform.decode(case.event.name, case.raw))
    assert json.loads(again) == json.loads(repaired or case.raw)
    assert canonical.digest(again) == canonical.digest(repaired or case.raw)


def identified_as_expected(case: Case) -> None:
    document = documents.describe(case.platform, case.event.name, case.raw)
    assert document.reading.type == case.expected["type"]
    assert document.reading.type in case.event.types
    assert document.reading.key == case.expected["key"]
    assert list(document.flags) == case.expected.get("flags", [])
    assert document.reading.lines, "an example without lines shows nothing"
    assert document.body is not None
    assert document.data is not None
    assert len(document.digest) == canonical.DIGEST_BYTES


def searched_by_its_numbers_and_articles(case: Case) -> None:
    reading = documents.describe(case.platform, case.event.name, case.raw).reading
    assert sorted(reading.searchable_numbers()) == sorted(case.expected.get("numbers", []))
    assert sorted(reading.searchable_articles()) == sorted(case.expected.get("articles", []))


def varied_is_another_document(case: Case) -> None:
    if case.platform.with_new_key is None:
        return
    seen = [documents.describe(case.platform, case.event.name, case.raw)]
    for fresh in ("5ca1ab1e-0000-4000-8000-000000000001", "5ca1ab1e-0000-4000-8000-000000000002"):
        varied = case.platform.with_new_key(case.event.name, case.raw, fresh)
        seen.append(documents.describe(case.platform, case.event.name, varied))
    assert len({document.reading.key for document in seen}) == len(seen)
    assert len({document.digest for document in seen}) == len(seen)
    assert {document.reading.type for document in seen} == {seen[0].reading.type}
    assert {document.flags for document in seen} == {seen[0].flags}


def answered_and_announced(case: Case) -> None:
    """Check, if the sender waits, that it gets an answer that it expects, and that recipients of items get events."""
    if case.event.reply is None:
        return
    document = documents.describe(case.platform, case.event.name, case.raw)
    request = Envelope(
        message_id="5ca1ab1e-0000-7000-8000-000000000001",
        platform=case.platform.name,
        account="a",
        event=case.event.name,
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
    )
    answer = answers.answerers()[case.platform.name].answer(request, case.raw, case.account)
    assert answer.status == 200
    json.loads(answer.body)
    announcement = case.platform.announcement
    assert (answer.record is None) == (announcement is None), "allocations are recorded to be announced"
    if answer.record is None or announcement is None:
        return
    record = allocation.decode(answer.record)
    assert record.raw == case.raw
    assert {entry.item for entry in record.allocations} == {line.id for line in document.reading.lines}
    shares = announcement.split(record.raw, record.allocations)
    assert set(shares) == {entry.manufacturer for entry in record.allocations}
    for share in shares.values():
        msgspec.json.decode(share, type=announcement.payload)


CHECKS: tuple[Callable[[Case], None], ...] = (
    accepted_when_signed,
    header_names_in_any_case,
    refused_with_a_flipped_bit,
    refused_with_a_wrong_secret,
    refused_when_empty_missing_or_not_ascii,
    every_rotated_secret_accepted,
    encodes_again_without_loss,
    identified_as_expected,
    searched_by_its_numbers_and_articles,
    varied_is_another_document,
    answered_and_announced,
)


def well_formed(platform: Platform) -> None:
    """Check that the platform's attributes agree with each other, and that its demo account is valid."""
    account = account_of(platform)
    assert platform.secrets(account)
    assert all(isinstance(secret, str) and secret for secret in platform.secrets(account))
    assert len({event.name for event in platform.events}) == len(platform.events)
    assert len({event.path for event in platform.events}) == len(platform.events)
    for event in platform.events:
        assert event.examples
        assert all(type_.startswith(f"{platform.name}.") for type_ in event.types)
        if event.reply is not None:
            assert getattr(account, event.reply.timeout_setting) > 0
            assert platform.name in answers.answerers()
    if platform.announcement is not None:
        assert platform.announcement.event_type.startswith(f"{platform.name}.")
        assert any(event.reply is not None for event in platform.events)
    expected = json.loads(registry.example(platform.name, "expected"))
    assert set(expected) == {example for event in platform.events for example in event.examples}
