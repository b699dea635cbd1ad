"""What is the same, and what PostgreSQL takes as jsonb."""

import json
from itertools import pairwise

import pytest

from schemas import canonical, jsontext
from schemas.canonical import NotJSONError
from tests.support.jsonb import JSONB


@pytest.mark.parametrize(
    "notations",
    [
        [b'{"a":1,"b":[1,2]}', b'{ "b" : [1,\n2] ,\t"a":1 }', b'{"\\u0061":1,"b":[1,2]}', b'{"b":[1,2],"a":0,"a":1}'],
        [b'"\xc3\xa9/"', b'"\\u00e9\\/"', b'"\\u00E9/"'],
        [b'"\xf0\x9f\x98\x80"', b'"\\ud83d\\ude00"', b'"\\uD83D\\uDE00"'],
        [b"[0]", b"[-0]"],
    ],
)
def test_equal_values_have_the_same_digest(notations: list[bytes]) -> None:
    assert len({canonical.digest(raw) for raw in notations}) == 1


def test_different_values_have_different_digests() -> None:
    texts = [
        *(b"1", b'"1"', b"[1]", b"1.0", b"1.10", b"1.1", b"11e-1", b"true", b"null", b'"null"', b"{}", b"[]", b'""'),
        *(
            b"[1,2]",
            b"[2,1]",
            b'{"a":1}',
            b'{"A":1}',
            b'{"a":null}',
            b"",
            b" ",
            b"{",
            b"\xff",
            b"\xfe",
            b"\xef\xbb\xbf1",
        ),
        *(b'"\\ud800"', b'"\\ud801"', b'"\\udc00"', b'"\\ufffd"', b'"d800"', b'"\\u0000"', b'"\\\\u0000"', b"1e400"),
        *(b"1e401", b"9" * 5000, b"9" * 5001, b'"' + b"9" * 5000 + b'"', b"[" * 5000 + b"]" * 5000),
        *(b"[" * 5001 + b"]" * 5001, b"9" * 400, b"9007199254740993", b"9007199254740992", b"1e-7", b"0.0000001"),
    ]
    assert len({canonical.digest(raw) for raw in texts}) == len(texts)


@pytest.mark.parametrize(("raw", "takes"), JSONB, ids=lambda value: str(value)[:30])
def test_json_that_postgresql_accepts_as_jsonb_is_recognised(raw: bytes, takes: bool) -> None:
    assert canonical.form(raw).jsonb is takes


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b" ",
            b"{",
            b"[1,]",
            b"{'a':1}",
            b"nan",
            b"NaN",
            b"01",
            b"1.",
            b".5",
            b'"\t"',
            b'"\xff"',
            b'"\xed\xa0\x80"',
        ),
        *(b"\xef\xbb\xbf{}", b"{}{}", b'"\\x"', b'"\\u12"', b'"\\', b'{"orderNo": 1000-4612}', b"1" * 5000 + b"-1"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_invalid_json_is_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(NotJSONError) as caught:
        canonical.form(raw)
    assert str(caught.value)


class TestText:
    def test_truncating_the_depth_keeps_shallow_values(self) -> None:
        deep = b"[" * 100_000 + b"]" * 100_000
        raw = b'{"id": "a", "x": ' + deep + b', "y": "]]", "z": ' + deep + b', "last": [1]}'
        assert jsontext.too_deep(raw)
        left = jsontext.truncate_depth(raw)
        assert not jsontext.too_deep(left)
        decoded = json.loads(left)
        assert (decoded["id"], decoded["y"], decoded["last"]) == ("a", "]]", [1])

    def test_brackets_in_strings_are_no_nesting(self) -> None:
        for raw in (
            b'["' + b"[" * 5000 + b'"]',
            b'["\\"' + b"[" * 5000 + b'"]',
            b'["' + b'", "['.join([b"{"] * 5000) + b'"]',
        ):
            json.loads(raw)
            assert not jsontext.too_deep(raw)
            assert jsontext.truncate_depth(raw) == raw

    def test_a_wide_document_is_not_too_deep(self) -> None:
        assert not jsontext.too_deep(b"[" + b",".join([b'{"a":[]}'] * 5000) + b"]")

    def test_unclosed_brackets_count_as_depth(self) -> None:
        assert jsontext.too_deep(b"[" * 5000)
        assert jsontext.truncate_depth(b"[" * 5000) == b"[" * jsontext.MAX_DEPTH + b"null"

    def test_lone_surrogates_are_replaced_by_their_codes(self) -> None:
        raw = rb'"\ud83d\ude00 \ud83d \uDE00 \\ud83d \\\ud83d \ud83d\ud83d\ude00"'
        assert json.loads(jsontext.repair(raw)) == "😀 \ufffdd83d \ufffdde00 \\ud83d \\\ufffdd83d \ufffdd83d😀"

    def test_long_integers_become_text(self) -> None:
        many = b"9" * 5000
        raw = b'{"n": -' + many + b', "t": "' + many + b'", "f": ' + many + b'.5, "g": 0.' + many + b', "s": [1]}'
        assert jsontext.repair(raw) == raw.replace(b": -" + many, b': "-' + many + b'"')


def test_digests_do_not_depend_on_the_run() -> None:
    """They are stored: another value would make every document a new version."""
    assert canonical.digest(b'{"b":1,"a":[1.10,"x"]}').hex() == "b15a9a134f711f744d08244fd55f117a"
    assert canonical.digest(b"no JSON").hex() == "7353bddd6e1091e89b2b4ba1e4ac00b8"
    assert all(a != b for a, b in pairwise(canonical.digest(b"%d" % n) for n in range(100)))
