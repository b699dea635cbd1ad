"""A digest sees what JSON says, and nothing of how it is written."""

import json
import random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas import canonical, jsontext
from tests.support.bodies import BOUNDED, NASTY, json_values, known, mutated


def written(value: Any, dice: random.Random) -> str:
    """`value` as JSON: key order, white space and escapes as the dice fall; numbers always the same."""

    def gap() -> str:
        return "".join(dice.choices(" \t\r\n", k=dice.randint(0, 2)))

    match value:
        case dict():
            names = list(value)
            dice.shuffle(names)
            return "{" + gap() + ",".join(f"{written(n, dice)}{gap()}:{written(value[n], dice)}" for n in names) + "}"
        case list():
            return "[" + ",".join(gap() + written(element, dice) + gap() for element in value) + "]"
        case str():
            return json.dumps(value, ensure_ascii=dice.random() < 0.5).replace(
                "/", dice.choice(["/", "\\/", "\\u002f"])
            )
    return json.dumps(value)


@BOUNDED
@given(json_values, st.integers(0, 2**32), st.integers(0, 2**32))
def test_notation_does_not_change_the_digest(value: Any, first_seed: int, second_seed: int) -> None:
    first, second = (
        written(value, random.Random(seed)).encode("utf-8", "surrogatepass") for seed in (first_seed, second_seed)
    )
    assert json.loads(first) == json.loads(second)
    assert canonical.digest(first) == canonical.digest(second)


@BOUNDED
@given(json_values, json_values)
def test_different_values_have_different_digests(value: Any, other: Any) -> None:
    # As text, because Python finds 1, 1.0 and True equal.
    first, second = (json.dumps(value, sort_keys=True).encode() for value in (value, other))
    assert (canonical.digest(first) == canonical.digest(second)) == (first == second)


@settings(BOUNDED, max_examples=600)
@given(st.sampled_from(known()).flatmap(lambda post: st.tuples(st.just(post[2]), mutated(post[2]))))
def test_a_mutated_example_has_another_digest_unless_its_value_is_equal(pair: tuple[bytes, bytes]) -> None:
    body, changed = pair
    assume(not jsontext.too_deep(changed))
    try:
        same = _plain(body) == _plain(changed)
    except ValueError:
        same = body == changed
    assert (canonical.digest(body) == canonical.digest(changed)) == same


def _plain(raw: bytes) -> str:
    """A slow second opinion on what JSON says: numbers as they are written, except that -0 is 0."""

    def unknown(constant: str) -> Any:
        raise ValueError(constant)

    number = {"parse_float": lambda n: {"#": n}, "parse_int": lambda n: {"#": "0" if n == "-0" else n}}
    text = raw.decode()
    if text.startswith("\ufeff"):
        raise ValueError("a byte order mark")
    return json.dumps(json.loads(text, parse_constant=unknown, **number), sort_keys=True)  # type: ignore[arg-type]


@BOUNDED
@given(st.binary(max_size=80) | st.sampled_from(NASTY))
def test_any_bytes_have_a_digest(raw: bytes) -> None:
    assert len(canonical.digest(raw)) == canonical.DIGEST_BYTES
    assert canonical.digest(raw) == canonical.digest(raw)


@settings(BOUNDED, max_examples=500)
@given(
    st.lists(
        st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b'"a"', b'"["', b" ", b":", b",", b"1"]), max_size=40
    ),
    st.integers(0, 9),
)
def test_only_brackets_outside_strings_count_as_depth(tokens: list[bytes], repeat: int) -> None:
    """Against a count by hand, at every size."""
    raw = b"".join(tokens) * (1 + 100 * repeat)
    level = deepest = 0
    quoted = escaped = False
    for byte in raw:
        if quoted:
            quoted = escaped or byte != ord('"')
            escaped = byte == ord("\\") and not escaped
        elif byte == ord('"'):
            quoted, escaped = True, False
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    assert jsontext.too_deep(raw) == (deepest > jsontext.MAX_DEPTH)
    if level >= 0:
        assert not jsontext.too_deep(jsontext.truncate_depth(raw))
