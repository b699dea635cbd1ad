"""Secrets that a response repeats are not kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outbound import Request
from tests.unit.deliver.servers import SUCCESS, raw, saying, sender
from workers.deliver.attempt.scrub import scrub

SECRET = 'Gø"h=im+ &<1>/'
ASKED = Request(body=b"", headers={"authorization": "Bearer t0ken-of-theirs"}, query=(("key", SECRET),))


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (SECRET, "***"),
        ("G%C3%B8%22h%3Dim%2B%20%26%3C1%3E%2F", "***"),
        ("G%C3%B8%22h%3Dim%2B%20%26%3C1%3E/", "***"),
        ("G%C3%B8%22h%3Dim%2B+%26%3C1%3E%2F", "***"),
        ("<p>Gø&quot;h=im+ &amp;&lt;1&gt;/</p>", "<p>***</p>"),
        ('{"key": "G\\u00f8\\"h=im+ &<1>/"}', '{"key": "***"}'),
        ("Authorization: Bearer t0ken-of-theirs!", "Authorization: ***!"),
        ("the token t0ken-of-theirs is wrong", "the token *** is wrong"),
        ("POST /a?own=long-enough&format=json", "POST /a?own=***&format=json"),
        ("nothing of it", "nothing of it"),
        ("", ""),
    ],
)
def test_secrets_are_masked_in_every_form(answer: str, kept: str) -> None:
    assert scrub(answer.encode(), "own=long-enough&format=json", ASKED, cut=False) == kept.encode()


@given(st.integers(4, 20), st.text("abc"))
def test_a_secret_that_is_cut_off_at_the_end_is_removed_too(length: int, before: str) -> None:
    cut = f"{before}t0ken-of-theirs"[: len(before) + length].encode()
    assert b"t0ke" not in scrub(cut, "", ASKED, cut=True)


def test_short_values_are_not_masked() -> None:
    request = Request(body=b"", headers={"Authorization": "x 1"}, query=(("a", "1"), ("b", "")))
    assert scrub(b"1 of 1", "c=ab", request, cut=False) == b"1 of 1"


async def test_the_sender_keeps_no_secret_that_a_response_repeats() -> None:
    page = b"Cannot POST /hook?own=own-secret&key=query-secret for t0ken-of-theirs"
    talk = saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
    request = Request(body=b"{}", headers=ASKED.headers, query=(("key", "query-secret"),))
    async with raw(talk) as server, sender() as scrubbed:
        answer = await scrubbed.send(server.url("/hook?own=own-secret"), request, success=SUCCESS)
    assert answer.response == b"Cannot POST /hook?own=***&key=*** for ***"
