"""What is read leniently never raises, whatever is sent."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from schemas import encodings, lenient, retryafter, times
from workers.poll import pages

DATES = (
    st.from_regex(r"\A[-0-9/. TZ:+]{1,30}\Z")
    | st.from_regex(r"\A/?Date\(-?\d{1,20}([+-]\d{4})?\)/?\Z")
    | st.from_regex(r"\A\d{1,4}[-/.]\d{1,4}[-/.]\d{1,4}([T ]\d\d:\d\d(:\d\d)?)? ?(AM|PM)? ?(UTC|Z|[+-]\d\d:?\d\d)?\Z")
    | st.from_regex(r"\A(\w{3}, )?\d{1,2} \w{3} \d{4} \d\d:\d\d(:\d\d)? (GMT|[+-]\d{4})\Z")
    | st.text()
)
SCALARS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | DATES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["#text", "@nil", "@xsi:nil", "#comment", "", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(DATES)
@example("-" * 100_000)
@example("9" * 100_000)
@example("/Date(99999999999999999+9999)/")
@example("9999-12-31T23:59:59-23:59")
@example("0")
def test_any_text_is_read_as_a_time_or_none(text: str) -> None:
    times.is_placeholder(text)
    times.parse(text)
    retryafter.seconds(text, 1e9)
    lenient.utc_datetime(text)
    lenient.local_datetime(text)


@given(SCALARS)
def test_any_value_is_read_or_none(value: Any) -> None:
    for read in (lenient.text, lenient.identifier, lenient.reference, lenient.number, lenient.date, lenient.is_absent):
        read(value)
    lenient.unreadable_time((value, lenient.utc_datetime(value)))
    lenient.unreadable(total=(value, lenient.number(value)))
    assert lenient.identifier(lenient.identifier(value)) == lenient.identifier(value)


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f'{{"results": [{text}'.encode("utf-8", "replace"))
)
def test_a_page_is_split_or_refused(body: bytes) -> None:
    try:
        read = pages.split(encodings.to_utf8(body, "application/json; charset=ISO-8859-1"))
    except (ValueError, RecursionError):
        return
    assert all(bytes(page) for page in read.results)


@given(st.binary(max_size=50), st.text(max_size=20))
def test_any_body_in_any_encoding_raises_only_documented_errors(raw: bytes, name: str) -> None:
    encodings.by_mark(raw)
    encodings.is_encoded([name])
    encodings.is_unreadable([name], raw)
