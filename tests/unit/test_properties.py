"""Our reader of message properties against the general one."""

import contextlib
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from schemas import properties

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
SHORT = st.none() | st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=40)
# The general encoder writes floats in 32 bits.
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, width=32) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT.filter(bool), inner, max_size=3),
    max_leaves=4,
)
MOMENTS = st.none() | st.datetimes(
    datetime.datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime.datetime(2100, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(datetime.UTC),
)


@given(
    content_type=SHORT,
    content_encoding=SHORT,
    headers=st.none() | st.dictionaries(SHORT.filter(bool), TEXT | st.integers(-(2**31), 2**40) | VALUES, max_size=6),
    delivery_mode=st.none() | st.sampled_from((1, 2)),
    priority=st.none() | st.integers(0, 9),
    correlation_id=SHORT,
    reply_to=SHORT,
    expiration=SHORT,
    message_id=SHORT,
    timestamp=MOMENTS,
    message_type=SHORT,
    user_id=SHORT,
    app_id=SHORT,
)
def test_reads_what_the_general_decoder_reads(**given: Any) -> None:
    encoded = Basic.Properties(**given).marshal()
    ours, theirs = properties.read(encoded), properties.decode(encoded)
    assert ours.content_type == theirs.content_type
    assert ours.headers == (theirs.headers or {})
    assert (ours.correlation_id, ours.reply_to) == (theirs.correlation_id, theirs.reply_to)
    assert (ours.message_id, ours.type) == (theirs.message_id, theirs.message_type)


@pytest.mark.parametrize("kind", "bBsuIil")
def test_whole_numbers_of_every_size(kind: str) -> None:
    size = {"b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "l": 8}[kind]
    table = b"\x01x" + kind.encode() + b"\xff" * size
    encoded = b"\x20\0" + len(table).to_bytes(4, "big") + table
    assert properties.read(encoded).headers == properties.decode(encoded).headers


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_raise_a_value_error(encoded: bytes) -> None:
    with contextlib.suppress(ValueError):
        properties.read(encoded)


def test_truncated_properties_are_refused() -> None:
    whole = Basic.Properties(content_type="a/b", headers={"name": "value"}, message_id="m").marshal()
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="broken properties"):
            properties.read(whole[:end])
