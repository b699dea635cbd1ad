"""Siblings of reported inputs: `Retry-After` as points in time, with units, and more than once."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import web

from schemas import retryafter
from tests.support.apicbase import serving
from tests.unit.poll.test_client import Free, settings
from workers.deliver.attempt import result
from workers.poll import client as clients
from workers.poll.apicbase import SOURCE
from workers.poll.client import Client

NOW = 1_795_946_400.0
LATER = int(NOW) + 30


def written(moment: float, form: str) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(form)


@pytest.mark.parametrize(
    "header",
    [
        *(f"{LATER}", f" {LATER} ", f"{LATER}.0", f"{LATER}000", f"{LATER}000000", f"{LATER}000000000", f'"{LATER}"'),
        *(f"{LATER - 1}.5", f"0{LATER}", f"/Date({LATER}000)/"),
        *(
            written(LATER, form)
            for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y%m%d%H%M%S")
        ),
        *(written(LATER, form) for form in ("%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S UTC")),
        format_datetime(datetime.fromtimestamp(LATER, UTC), usegmt=True),
        *("30s", "30 s", "30 sec", "30 seconds", "29.5s", "30000ms", "0m30s", "PT30S", "30S", "0.5 minutes"),
        *("30, 30", "30,30", "30, 7", "7, 30", f"{LATER}, {LATER}", "soon, 30"),
        ", ".join([format_datetime(datetime.fromtimestamp(LATER, UTC), usegmt=True)] * 2),
    ],
)
def test_half_a_minute_in_any_notation(header: str) -> None:
    assert retryafter.seconds(header, NOW) == pytest.approx(30, abs=0.6)
    assert clients.retry_after(header, NOW) == pytest.approx(30, abs=0.6)
    assert result.retry_after(header, NOW) == pytest.approx(30, abs=0.6)


@pytest.mark.parametrize("header", [f"{LATER - 60}", f"{LATER - 60}000", "1000000000", "2020-01-01T00:00:00Z"])
def test_a_time_in_the_past_means_no_wait(header: str) -> None:
    assert clients.retry_after(header, NOW) == 0
    assert result.retry_after(header, NOW) is None


@pytest.mark.parametrize(
    "header", ["1,000", "30 parsecs", "30x", "PT", "s", "10/11/2026", "3s 4", "-30", ",", "2026-13-01"]
)
def test_an_ambiguous_retry_after_is_ignored(header: str) -> None:
    assert retryafter.seconds(header, NOW) is None


@pytest.mark.parametrize(("header", "seconds"), [("1m30s", 90), ("2h", 7200), ("1d", 86400), ("999999999", 999999999)])
def test_a_retry_after_in_other_units_is_read(header: str, seconds: float) -> None:
    assert retryafter.seconds(header, NOW) == seconds


async def test_all_of_a_client_pause_until_a_point_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause used to be an hour, for all accounts of the client."""
    monkeypatch.setattr("workers.poll.client.time.time", lambda: NOW)
    waits = iter([[f"{LATER}"], [f"{LATER}000"], ["3s"], ["2", "2"]])

    def refuse(request: object, number: int) -> web.Response | None:
        values = next(waits, None)
        if values is None:
            return None
        response = web.Response(status=429)
        for value in values:
            response.headers.add("Retry-After", value)
        return response

    async with serving() as apicbase, clients.session() as http:
        apicbase.answer = refuse
        limit = Free()
        api = Client(http, SOURCE, settings(apicbase), limit)
        await api.page(api.first(datetime.fromtimestamp(NOW, UTC)))
        await api.close()
    assert limit.pauses == [30, 30, 3, 2]
