"""CloudEvents as others read them, and problems (RFC 9457)."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from schemas import cloudevents, problems

MOMENT = datetime(2026, 11, 21, 10, 30, 0, 120, tzinfo=timezone(timedelta(hours=1)))


def encoded(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "id": "0193-1",
        "platform": "channelape",
        "account": "rothys",
        "type": "channelape.receipt_confirmation",
        "key": "27d7",
        "received_at": MOMENT,
        "version": 2,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": b'{ "n": 1.10, "big": 12345678901234567890123, "e": 1e2 }',
        "raw": b"",
    }
    return cloudevents.encode(**fields | changes)


def test_another_implementation_reads_our_events() -> None:
    message = HTTPMessage(headers={"content-type": cloudevents.CONTENT_TYPE}, body=encoded())
    event = from_structured_event(message)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == "0193-1"
    assert event.get_source() == "/channelape/rothys"
    assert event.get_type() == "channelape.receipt_confirmation"
    assert event.get_subject() == "27d7"
    assert event.get_time() == MOMENT
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("version") == 2
    assert event.get_extension("traceparent").startswith("00-0af7")
    assert event.get_data() == {"n": 1.1, "big": 12345678901234567890123, "e": 100.0}


def test_numbers_in_data_are_never_rewritten() -> None:
    assert b'"data":{ "n": 1.10, "big": 12345678901234567890123, "e": 1e2 }' in encoded()


def test_time_is_utc_with_microseconds() -> None:
    assert json.loads(encoded())["time"] == "2026-11-21T09:30:00.000120Z"
    utc = MOMENT.astimezone(UTC)
    assert json.loads(encoded(received_at=utc))["time"] == "2026-11-21T09:30:00.000120Z"
    assert json.loads(encoded(received_at=datetime(2026, 1, 1, tzinfo=UTC)))["time"] == "2026-01-01T00:00:00.000000Z"


def test_data_that_are_not_json_are_sent_in_base64() -> None:
    decoded = json.loads(encoded(data=None, raw=b"\xff{"))
    assert "data" not in decoded
    assert (decoded["data_base64"], decoded["datacontenttype"]) == ("/3s=", "application/octet-stream")
    event = from_structured_event(
        HTTPMessage(headers={"content-type": cloudevents.CONTENT_TYPE}, body=encoded(data=None, raw=b"\xff{"))
    )
    assert event.get_data() == b"\xff{"


def test_without_a_trace_there_is_no_attribute() -> None:
    assert "traceparent" not in json.loads(encoded(traceparent=None))
    assert "traceparent" not in json.loads(encoded(traceparent=""))


def test_keys_may_contain_any_characters() -> None:
    assert json.loads(encoded(key='é"\\/\x01\n😀'))["subject"] == 'é"\\/\x01\n😀'


def test_an_encoded_event_decodes_to_itself() -> None:
    event = cloudevents.decode(encoded())
    assert (event.id, event.version) == ("0193-1", 2)
    assert isinstance(event.data, msgspec.Raw)
    for wrong in (b"{}", b'{"\xff": 1}', b'{"id": "\xff"}', b'{"a":' * 5000):
        with pytest.raises(msgspec.DecodeError):
            cloudevents.decode(wrong)


def test_a_problem_has_title_status_and_detail() -> None:
    assert json.loads(problems.problem(404, "Not found")) == {"title": "Not found", "status": 404}
    problem = problems.problem(422, "Refused", "No such article", articles=["X"])
    assert json.loads(problem) == {"title": "Refused", "status": 422, "detail": "No such article", "articles": ["X"]}
    assert problems.CONTENT_TYPE == "application/problem+json"
