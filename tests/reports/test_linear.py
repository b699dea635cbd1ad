"""Every reader takes time in proportion to what it reads, whatever is repeated in it.

Findings 1 and 2 of the review: a repeated name and a postal code of 100 kB each stopped a worker for minutes. What is
read runs in the turn of the event loop that serves everybody else, so a quadratic reader is an outage.
"""

import gc
import hashlib
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from deploy import columns
from schemas import canonical, documents, encodings, jsontext, properties, registry
from schemas.allocation import ItemAllocation
from schemas.dialects import dialects
from schemas.envelope import Envelope
from schemas.outbound import Credentials, Event, UntranslatableError
from schemas.platform import UnreadableError
from schemas.platforms.ustore import manufacturer_order, messages
from tests.support.storing import at
from workers.route import answers, ustore
from workers.route.ustore import distance

TIMES = 6.0
"""How much longer four times the size may take: quadratic is sixteen."""
SIZE = 30_000
"""Bytes of the smaller text: large enough to be measured, and for a square to show."""
ENOUGH = 0.001
"""Seconds of CPU time below which the smaller text grows: less is noise."""

ARRAY = b'{"id":"1","channelOrderId":"X","orderNo":"1","type":"new_order","%s":[%s]}'
ITEMS: dict[str, bytes] = {
    "empty objects": b"{}",
    "nulls": b"null",
    "numbers": b"1.10",
    "exponents": b"5e-324",
    "long numbers": b"1" * 5000,
    "strings": b'""',
    "escapes": b'"\\\\\\u0041"',
    "surrogates": b'"\\ud83d"',
    "lists": b"[[]]",
    "objects": b'{"a":{}}',
    "one name": b'{"name":"a"}',
    "one name with a value": b'{"name":"Sscc","value":""}',
    "lines": b'{"id":"a","sku":"b","quantity":"12,50","additionalFields":[{"name":"received_qty","value":"x"}]}',
    "items": b'{"skuNr":"a&b","itemQuantity":"x"}',
    "packages": b'{"quantity_ordered":"many","supplier_package":{"supplier_article_number":" 1 "}}',
    "spaces": b" " * 50 + b"1",
}
LISTS = (b"additionalFields", b"lineItems", b"packages", b"items", b"unknown")
READ = frozenset({"empty objects", "nulls", "one name with a value", "lines", "items", "packages"})
"""Elements that some list of a document may have; the others are only tried where nobody and where one looks."""
REPEATED: dict[str, bytes] = {
    "open lists": b"[",
    "open objects": b'{"a":',
    "quotes": b'"',
    "backslashes": b"\\",
    "spaces": b" ",
    "NULs": b"\0",
    "byte order marks": b"\xef\xbb\xbf",
    "UTF-16": b"{\0",
    "broken UTF-8": b"\xff",
    "digits": b"1",
    "minus": b"1-1",
    "bare order numbers": b'"orderNo": 1000-4612,',
    "order numbers without an end": b'"orderNo"  ',
    "surrogates": b"\\ud83d",
    "NUL escapes": b"\\u0000",
}


def bodies() -> dict[str, Callable[[int], bytes]]:
    """What a sender could repeat, by name: bytes of about that many."""
    makers_of: dict[str, Callable[[int], bytes]] = {}
    for name, item in ITEMS.items():
        for where in LISTS if name in READ else LISTS[::4]:
            makers_of[f"{name} in {where.decode()}"] = lambda size, i=item, w=where: (  # type: ignore[misc]
                ARRAY % (w, b",".join([i] * (size // len(i))))
            )
    for name, unit in REPEATED.items():
        makers_of[f"nothing but {name}"] = lambda size, u=unit: u * (size // len(u))  # type: ignore[misc]
        makers_of[f"a text of {name}"] = lambda size, u=unit: (  # type: ignore[misc]
            b'{"id":"' + u * (size // len(u)) + b'","channelOrderId":"1","orderNo":"1","type":"new_order"}'
        )
    makers_of["different names"] = lambda size: (
        ARRAY
        % (
            b"additionalFields",
            b",".join(b'{"name":"%d"}' % n for n in range(size // 16)),
        )
    )
    makers_of["different keys"] = lambda size: b"{" + b",".join(b'"%d":1' % n for n in range(size // 9)) + b"}"
    return makers_of


BODIES = bodies()


def linear(
    run: Callable[[Any], object], make: Callable[[int], Any], size: int = SIZE, largest: int = 1_000_000
) -> None:
    """Fails if `run` takes more than TIMES as long for four times the size; the smaller text grows up to `largest`."""
    while True:
        small = make(size)
        once = cpu(run, small, 1)
        if once >= ENOUGH or size >= largest:
            break
        size *= 2
    if once > 1.0:
        pytest.fail(f"{once:.1f} s for {size} bytes")
    large = make(4 * size)
    first, second = cpu(run, small, 2), cpu(run, large, 1)
    for _ in range(4):  # another process's noise passes, a square does not
        if second <= TIMES * first + ENOUGH:
            return
        first, second = max(first, cpu(run, small, 3)), min(second, cpu(run, large, 3))
    pytest.fail(f"{size} bytes take {first * 1000:.1f} ms, four times as many {second * 1000:.1f} ms")


def cpu(run: Callable[[Any], object], content: Any, times: int) -> float:
    """The least CPU time of several runs, without the garbage collector, which comes in steps of its own."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(times):
            started = time.process_time()
            run(content)
            best = min(best, time.process_time() - started)
    finally:
        gc.enable()
    return best


def each_event(raw: bytes) -> None:
    for platform in registry.platforms().values():
        for event in platform.events:
            with suppress(UnreadableError):  # decodes, repairs and reads
                documents.describe(platform, event.name, raw, "application/json; charset=iso-8859-1")


@pytest.mark.parametrize("name", BODIES)
def test_reading_a_body_takes_linear_time(name: str) -> None:
    """Finding 1: repeats of one name in `additionalFields` were copied for each repeat, eight times an order."""
    linear(each_event, BODIES[name])


def each_look_at_a_text(raw: bytes) -> None:
    for read in (
        canonical.digest,
        jsontext.repair,
        jsontext.mend_bytes,
        jsontext.has_nul,
        jsontext.truncate_depth,
        jsontext.valid_unicode,
        jsontext.too_deep,
    ):
        read(raw)


@pytest.mark.parametrize("name", [f"nothing but {name}" for name in REPEATED] + ["long numbers in unknown"])
def test_reading_any_text_takes_linear_time(name: str) -> None:
    def run(raw: bytes) -> None:
        each_look_at_a_text(raw)
        encodings.by_mark(raw)
        for charset in ("utf-16", "shift_jis", "gb18030", "iso-2022-jp", "latin1", "idna", "punycode"):
            encodings.by_header(raw, f"application/json; charset={charset}")

    linear(run, BODIES[name])


@pytest.mark.parametrize(
    "unit", [b'"', b'\\"', b"\\", b'"\\', b"[", b"{", b'""', b'"[', b"\\ud800", b"9", b"-", b'"orderNo":', b"1-1,"]
)
def test_unterminated_texts_take_linear_time(unit: bytes) -> None:
    def make(size: int) -> list[bytes]:
        text = unit * (size // len(unit))
        return [text, b'"' + text, text + b'"', b"{" + text]

    def run(texts: list[bytes]) -> None:
        for text in texts:
            each_look_at_a_text(text)

    linear(run, make)


@pytest.mark.parametrize("name", ["numbers in unknown", "exponents in unknown", "open lists", "objects in unknown"])
def test_verifying_a_signature_takes_linear_time(name: str) -> None:
    """Finding 15 (sibling): a signature that does not fit costs a second reading, and no more."""
    make = BODIES.get(name, BODIES["nothing but open lists"])
    accounts = [
        (platform, msgspec.convert(platform.demo[1], platform.account)) for platform in registry.platforms().values()
    ]

    def run(raw: bytes) -> None:
        for platform, account in accounts:
            wrong = {"X-APIC-WEBHOOK-SIGNATURE": "0" * 64, "X-Signature": "x", "Authorization": "x"}
            assert platform.verify(raw, CIMultiDict(wrong), MultiDict({"token": "x"}), account) is None

    linear(run, make)


EXAMPLE = registry.example("ustore", "manufacturer_allocation")
COUNTRY, ZIP, STATE = b'"CountryName": "', b'"Zip": "', b'"StateName": "'


def account() -> Any:
    makers = [{"id": str(n), "country": "Germany", "postal_code": f"8033{n}"} for n in range(3)]
    when = [
        {"ship_to_state": ["Bavaria", "NY"]},
        {"ship_to_zip_prefix": ["999"], "ship_to_country": ["Austria"]},
        {"property": {"Finishing": ["Gloss"]}, "min_units": 1e9},
    ]
    rules: list[dict[str, Any]] = [{"when": condition, "manufacturer": "1"} for condition in when]
    rules.append({"nearest": ["0", "1", "2"]})
    settings_of_account = {"secrets": ["s"], "manufacturers": makers, "rules": rules, "fallback": "0"}
    return msgspec.convert(settings_of_account, registry.platforms()["ustore"].account)


def envelope(event: str) -> Envelope:
    name = "01932d5e-0000-7000-8000-000000000001"
    return Envelope(message_id=name, platform="ustore", account="a", event=event, received_at=at(0))


def order(**more: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(EXAMPLE)
    for name, value in more.items():
        for delivery in decoded["Order"]["DeliveryInformation"]["Deliveries"]:
            delivery["ShippingAddress"][name] = value
    return decoded


def with_items(size: int) -> bytes:
    decoded = order(CountryName="Germany", Zip="80331")
    first = decoded["Order"]["OrderProducts"]["OrderProduct"][0]
    count = size // len(msgspec.json.encode(first))
    decoded["Order"]["OrderProducts"]["OrderProduct"] = [first | {"@id": str(n)} for n in range(max(count, 2))]
    held = [{"OrderProductID": str(n)} for n in range(max(count, 2))]
    for delivery in decoded["Order"]["DeliveryInformation"]["Deliveries"]:
        delivery["DeliveryItems"] = held
    return msgspec.json.encode(decoded)


def with_properties(size: int) -> bytes:
    decoded = order()
    values = [{"Property": {"DisplayName": "Finishing"}, "Value": "x"}] * (size // 60)
    decoded["Order"]["OrderProducts"]["OrderProduct"][0]["PropertyValues"] = {"PropertyValue": values}
    return msgspec.json.encode(decoded)


def with_deliveries(size: int) -> bytes:
    decoded = order()
    information = decoded["Order"]["DeliveryInformation"]
    information["Deliveries"] = information["Deliveries"][:1] * (size // 300)
    return msgspec.json.encode(decoded)


ORDERS: dict[str, Callable[[int], bytes]] = {
    "a postal code": lambda size: msgspec.json.encode(order(CountryName="Germany", Zip="7" * size)),
    "a ZIP code": lambda size: msgspec.json.encode(order(CountryName="US", Zip="7" * size)),
    "a state": lambda size: msgspec.json.encode(order(CountryName="Germany", StateName="é " * (size // 2))),
    "a country": lambda size: msgspec.json.encode(order(CountryName="É." * (size // 2))),
    "items": with_items,
    "properties": with_properties,
    "deliveries": with_deliveries,
}


@pytest.mark.parametrize("name", ORDERS)
def test_answering_a_shopper_takes_linear_time(name: str) -> None:
    """Finding 2: each shorter start of a postal code was looked up, 100 kB of them for one shopper."""
    settings = account()
    ustore.answer(envelope("manufacturer_allocation"), EXAMPLE, settings)  # loads the places

    def run(raw: bytes) -> None:
        distance.gazetteer()._located.clear()  # else the second run has only to remember
        answer = ustore.answer(envelope("manufacturer_allocation"), raw, settings)
        assert answer.status in (200, 400)
        items = [ItemAllocation(str(n), str(n % 3), "r") for n in range(len(raw) // 1000)]
        manufacturer_order.split(raw, items)

    linear(run, ORDERS[name])


@pytest.mark.parametrize(
    "name", ["packages in packages", "nulls in packages", "lists in unknown", "strings in unknown"]
)
def test_the_verdict_on_an_order_takes_linear_time(name: str) -> None:
    settings = msgspec.convert(registry.platforms()["apicbase"].demo[1], registry.platforms()["apicbase"].account)
    answerer = answers.answerers()["apicbase"]
    linear(lambda raw: answerer.answer(envelope("purchase_order"), raw, settings), BODIES[name])


@pytest.mark.parametrize("name", ["a postal code", "a state", "a country"])
def test_texts_of_shoppers_are_kept_up_to_a_length(name: str) -> None:
    """Finding 2: caches keyed by texts of any length held a gigabyte that was never given back."""
    settings = account()
    ustore.answer(envelope("manufacturer_allocation"), ORDERS[name](100_000), settings)
    for country, states, postal in distance.gazetteer()._located:
        assert len(country) + sum(map(len, states)) + len(postal) < 100


def test_reading_an_accept_language_header_takes_linear_time() -> None:
    linear(lambda text: messages.negotiate(text), lambda size: "x-" * (size // 2))


@pytest.mark.parametrize(
    "name", ["packages in packages", "numbers in unknown", "surrogates in unknown", "items in items"]
)
def test_translating_an_event_takes_linear_time_in_every_dialect(name: str) -> None:
    credentials = Credentials(secrets=("whsec_" + "A" * 32,), authorization="Basic x", query_key="k")

    def run(raw: bytes) -> None:
        for dialect in dialects().values():
            for type_ in dialect.types or ("channelape.receipt_confirmation",):
                for data in (raw, None):
                    with suppress(UntranslatableError):
                        dialect.request(event(type_, raw, data), credentials, 1_800_000_000)

    linear(run, BODIES[name])


def event(type_: str, raw: bytes, data: bytes | None) -> Event:
    return Event(
        id="01932d5e-0000-8000-8000-000000000001",
        platform=type_.partition(".")[0],
        account="a",
        type=type_,
        key="1",
        version=1,
        received_at=at(0),
        raw=raw,
        data=data,
    )


PROPERTIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "texts": lambda size: {f"h{n}": "x" for n in range(size // 10)},
    "numbers": lambda size: {f"h{n}": n for n in range(size // 10)},
    "one long text": lambda size: {"h": "x" * size},
}


FRAME = 131_072
"""The most bytes of a message's properties: they are one frame, and RabbitMQ's `frame_max` is that by default."""


@pytest.mark.parametrize("name", PROPERTIES)
def test_reading_the_properties_of_a_message_takes_linear_time(name: str) -> None:
    def make(size: int) -> bytes:
        header = ContentHeader(properties=Basic.Properties(headers=PROPERTIES[name](size)))
        return header.marshal()[12:]

    linear(properties.read, make, largest=FRAME // 5)


@pytest.mark.parametrize("unit", ["a;b\n", '"', "a,", '"a;b";', "\n", "é;\n"])
def test_reading_a_list_of_articles_takes_linear_time(tmp_path: Any, unit: str) -> None:
    def run(text: str) -> None:
        file = tmp_path / "list.csv"
        file.write_text(text)
        with suppress(columns.ColumnError):
            columns.read(file, "article")

    linear(run, lambda size: unit * (size // len(unit)))


def test_the_signature_of_the_test_is_a_signature() -> None:
    """The wrong signatures above are of the right length, so that the expensive way is taken."""
    assert len(hmac.new(b"s", b"", hashlib.sha256).hexdigest()) == 64
