"""Dates that mean no date in the notations of RFC 1123 and RFC 850, and as the time of another zone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas import lenient, retryafter, times
from tests.reports.test_sibling_dates import channelape
from workers.poll import apicbase

NO_DATES = (
    *("Mon, 01 Jan 0001 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"),
    *("Sat, 30 Dec 1899 00:00:00 GMT", "Mon, 01 Jan 1900 00:00:00 GMT", "1 Jan 1970 00:00:00 +0000"),
    *("Wed, 31 Dec 1969 19:00:00 -0500", "Thursday, 01-Jan-1970 00:00:00 GMT", "01 Jan 1753 00:00 UTC"),
    *("Mon, 01 Jan 0001 00:00:00 +0100", "Thu, 01 Jan 1970 01:00:00 +0100", "Fri, 31 Dec 9999 18:59:59 -0500"),
    *("Sat, 01 Jan 0000 00:00:00 GMT", "Wed, 30 Nov -0001 00:00:00 +0000", "-0001-11-30T00:00:00+00:00"),
    *("Mon, 00 Jan 1900 00:00:00 GMT", "thu, 01 jan 1970 00:00:00 gmt", "\u00a0Thu, 01 Jan 1970 00:00:00 GMT\u200b"),
    *("1899-12-29T19:00:00-05:00", "1753-01-01T01:00:00+01:00", "1970-W01-4T00:00:00Z", "1970/01/01 00:00:00 UTC"),
    *("/Date(-2208988800000)/", "-2209161600", -2208988800, -62135596800.0, "-6.21355968E10", "253402300799.999"),
    *("/Date(-62135596800000+0100)/", "253402300799999999"),
)
DATES = {
    "Fri, 02 Jan 1970 00:00:00 GMT": datetime(1970, 1, 2, tzinfo=UTC),
    "Thu, 01 Jan 1970 00:00:01 GMT": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    "Fri, 31 Dec 1999 23:59:59 -0500": datetime(2000, 1, 1, 4, 59, 59, tzinfo=UTC),
    "Sun, 06-Nov-1994 08:49:37 GMT": datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC),
    "Mon, 01 Jan 0049 00:00:00 GMT": datetime(49, 1, 1, tzinfo=UTC),
    "Mon, 01 Jan 0070 00:00:00 GMT": datetime(70, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("value", NO_DATES)
def test_a_date_that_means_no_date_is_absent_in_every_notation(value: Any) -> None:
    """npgsql#6651's kin: `Thu, 01 Jan 1970 00:00:00 GMT` was stored as a date, and the year 0001 as 2001."""
    assert (lenient.date(value), lenient.utc_datetime(value), lenient.local_datetime(value)) == (None, None, None)
    document = channelape(value)
    assert document.reading.shipped_at is None
    assert document.reading.goods_received_at == datetime(2001, 1, 1)  # noqa: DTZ001 - that of the arrival
    assert document.flags == ()
    assert apicbase.moment(str(value)) is None


@pytest.mark.parametrize("value", DATES)
def test_a_year_of_four_digits_is_that_year(value: str) -> None:
    """The year 0001 became 2001, and 0070 would have become 1970."""
    assert times.parse(value) == DATES[value]
    assert lenient.date(value) == value


@pytest.mark.parametrize("value", ["Thursday, 01-Jan-70 00:00:00 GMT", "Mon, 01 Jan 01 00:00:00 GMT"])
def test_a_year_of_two_digits_is_not_read(value: str) -> None:
    document = channelape(value)
    assert (document.reading.shipped_at, document.flags) == (None, ("unreadable_date",))


def test_a_retry_after_in_a_year_long_ago_is_ignored() -> None:
    """The year 0049 of a `Retry-After` was taken for 2049."""
    wait = retryafter.seconds("Fri, 31 Dec 0049 23:59:59 GMT", datetime(2026, 11, 29, tzinfo=UTC).timestamp())
    assert wait is not None
    assert wait < 0
