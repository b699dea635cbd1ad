"""What names, locates or reaches a person is hidden, at any depth, and nothing else."""

import json
import time
from typing import Any

import msgspec
import pytest

from ingress.console import bodies, jsontree
from ingress.console.masking import Mask
from schemas import registry
from storage.document import Content
from tests.support.erasing import EMAIL, NAME, STREET, TRACES
from tests.support.storing import at

PERSONAL = {
    "apicbase": ["kitchen.antwerp", "Deliver at the back door"],
    "channelape": ["181 Columbus Ave.", "New York", "Rothy's 181 Columbus"],
    "ecomnow": [],
    "ustore": ["208E 31 st.", "9172653927", "uStore2", "Superuser"],
}
"""Personal data of the documented examples."""


def masked(platform: str, body: Any) -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return jsontree.pretty(Mask(platform).tree(jsontree.parse(raw)))


@pytest.mark.parametrize("platform", sorted(PERSONAL))
def test_the_examples_of_every_platform_show_no_personal_data(platform: str) -> None:
    known = registry.platforms()[platform]
    examples = [(event, registry.example(platform, name)) for event in known.events for name in event.examples]
    texts = "".join(raw.decode() for _, raw in examples)
    assert all(text in texts for text in PERSONAL[platform])
    for event, raw in examples:
        shown = masked(platform, known.repair(raw) or raw if known.repair else raw)
        assert not any(text in shown for text in PERSONAL[platform])
        for line in known.read(event.name, raw).lines:
            assert line.article is None or line.article in shown


@pytest.mark.parametrize(
    "body",
    [
        {"email": EMAIL},
        {"E_Mail-Address": EMAIL},
        {"deep": [{"er": {"customer": {"additionalFields": [{"name": "nick", "value": NAME}], "n": [STREET]}}}]},
        {"additionalFields": [{"name": "shippingAddress", "value": STREET}]},
        {"additionalFields": [{"Name": "first_name", "Value": NAME}]},
        {"note": f"write to {EMAIL} please"},
        {"ShippingAddress": {"Address1": STREET}},
    ],
    ids=lambda body: next(iter(body)),
)
def test_personal_values_are_hidden_wherever_they_are(body: Any) -> None:
    shown = masked("channelape", {"status": "OPEN", **body})
    assert not any(trace in shown for trace in TRACES)
    assert "OPEN" in shown
    assert jsontree.DOTS in shown


def test_what_was_hidden_is_hidden_in_other_texts_too() -> None:
    mask = Mask("ustore")
    mask.tree(jsontree.parse(json.dumps({"ShippingAddress": {"Zip": "21076", "StateName": "MD"}})))
    assert mask.text("ZIP 21076 is in MD, write to a@b.example") == "ZIP •••• is in MD, write to ••••"
    assert mask.reason("2 at 5 km (10016 to 10023); 1 at 9 km") == "2 at 5 km (••••); 1 at 9 km"


def content(raw: bytes | None, **more: Any) -> Content:
    fields: dict[str, Any] = {"version": 1, "id": None, "event": "notification", "content_type": None}
    fields |= {"received_at": at(0), "message_id": None, "size": len(raw or b""), "raw": raw, "is_erased": False}
    return Content(**{**fields, **more})


def test_a_body_that_is_not_json_is_hidden_as_a_whole() -> None:
    body = content(b"orderNo=1&email=" + EMAIL.encode())
    view = bodies.view(body, bodies.tree(body, "ecomnow"), is_masked=True)
    assert (view.pretty, view.raw) == (None, None)
    assert view.problem == "This body is not JSON, so that all of it is hidden."
    shown = bodies.view(body, None, is_masked=False)
    assert EMAIL in (shown.raw or "")


def test_a_repaired_body_is_shown_as_it_is_sent_on() -> None:
    body = content(registry.example("ecomnow", "new_order"))
    assert '"orderNo": "1000-4612"' in (bodies.view(body, bodies.tree(body, "ecomnow"), is_masked=True).pretty or "")


def test_bytes_that_are_not_text_are_hexadecimal() -> None:
    view = bodies.view(content(b"\xff\xfeAB" + b"\0" * 5000), None, is_masked=False)
    assert view.raw is not None
    assert view.raw.splitlines()[0] == "00000000  ff fe 41 42" + " 00" * 12 + "  ..AB............"
    assert (view.is_text, view.is_cut, len(view.raw.splitlines())) == (False, True, bodies.MAX_HEX // 16)


@pytest.mark.parametrize(
    ("more", "problem"),
    [({"is_erased": True}, "The content was erased."), ({"raw": None}, "The body is too large to be shown")],
)
def test_a_body_that_is_not_there_says_why(more: dict[str, Any], problem: str) -> None:
    body = msgspec.structs.replace(content(b"{}"), **more)
    for is_masked in (True, False):
        view = bodies.view(body, bodies.tree(body, "ustore"), is_masked=is_masked)
        assert (view.pretty, view.raw) == (None, None)
        assert (view.problem or "").startswith(problem)


def test_a_long_word_takes_no_longer_than_its_length() -> None:
    started = time.process_time()
    for text in ("x" * 1_000_000, "x@" * 300_000, "(" * 300_000, "a@" + "b" * 1_000_000, "a.b@c" * 200_000):
        mask = Mask("ustore")
        mask.tree({"note": text})
        mask.reason(text)
    assert time.process_time() - started < 3
