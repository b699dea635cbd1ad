"""Dates and times as programs write them, where each has exactly one meaning. Pure.

Read are ISO 8601 and its common variants, Unix time, .NET's `/Date(…)/`, RFC 1123, and what JavaScript's
`Date.toString` writes. Whatever could be two moments,
such as `10/11/2026` or the name of a time zone other than UTC, is not read.
"""

import re
from datetime import UTC, datetime, time, timedelta, timezone

from schemas import invisible

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 100
"""Maximum characters of a time."""
_UNITS = {10: 1_000_000, 13: 1000, 16: 1}
"""Microseconds per unit of a Unix time in seconds, milliseconds or microseconds, by its number of digits (from 2001 to
2286)."""
_NUMBER = re.compile(r"(\d{8,19})(?:[.,](\d{1,9}))?")
_EXPONENT = re.compile(r"\d\.\d{1,17}[eE]\+?\d{1,2}")
_COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_DOTNET = re.compile(r"(?:new )?/?Date\((-?\d{1,17})(?:([+-])(\d\d):?(\d\d))?\)/?", re.IGNORECASE)
_VARIANT = re.compile(
    r"(\d{4})(?:([-/.])(\d{1,2})\2(\d{1,2})|-(\d{3}))"
    r"(?:[T ]{1,2}(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)? ?([AP]M)?"
    r" ?(?:(?:UTC|GMT|UT)?([+-]\d\d):?(\d\d)?(?: UTC| GMT|\[[\w/+-]{1,40}\])?|(Z|UTC|GMT|UT)(?:\[[\w/+-]{1,40}\])?)?)?",
    re.IGNORECASE | re.ASCII,
)
_INTERNET = re.compile(
    r"(?:[A-Z]{3,9},? )?(\d{1,2})[ -]([A-Z]{3})[ -](-?\d{4})"
    r" (\d\d):(\d\d)(?::(\d\d))? (?:GMT|UTC|UT|Z|([+-]\d\d)(\d\d))",
    re.IGNORECASE,
)
_SCRIPT = re.compile(
    r"[A-Z]{3} ([A-Z]{3}) (\d\d) (\d{4}) (\d\d):(\d\d):(\d\d) GMT([+-]\d\d)(\d\d)", re.IGNORECASE | re.ASCII
)
"""JavaScript's `Date.toString`, without the name of the zone."""
_COMMENT = re.compile(r"(?<=[+-]\d{4}) \([^()]{1,60}\)\Z")
"""What stands in brackets after an offset, as in RFC 5322, and has no meaning: the name of a zone, in any language."""
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_SINCE_EPOCH = re.compile(r"(-?\d{1,80})(?:[.,]\d{1,9})?|-?\d\.\d{1,17}[eE]\+?\d{1,2}")
"""A number that may be a Unix time, also one before 1970."""
_PLACEHOLDER = re.compile(
    r"(?:(?P<year>-?\d{4})(?P<by>[-/.]?)(?P<month>\d\d?)(?P=by)(?P<day>\d\d?)"
    r"|(?P<a>\d\d?)[./-](?P<b>\d\d?)[./-](?P<last>\d{4})(?!\d))"
    r"(?P<midnight>[T ]*(?:(?:00?|12(?=.{1,20}AM)):?00(?::?00(?:[.,]0{1,12})?)?)? ?(?:AM)?"
    r" ?(?:Z|UTC|GMT|[+-]\d\d:?(?:\d\d)?)?\Z)?",
    re.IGNORECASE,
)
_ENDLESS_YEARS = (-1, 0, 1, 9999)
"""Years of no date: MySQL's zero date, also as PHP converts it, and .NET's `DateTime.MinValue` and `MaxValue`."""
_FIRST_DAYS = frozenset(
    {(1970, 1, 1), (1899, 12, 30), (1899, 12, 31), (1900, 1, 0), (1900, 1, 1), (1753, 1, 1), (1601, 1, 1)}
)
"""Where programs begin to count, as year, month and day: Unix, OLE and Excel, SQL Server, Windows. At midnight, each is
the zero of an unset variable."""
_DAY_ZERO = (1900, 1, 0)
"""Excel's day zero, which no calendar has."""
_FIRST_MOMENTS = frozenset(datetime(*day) for day in _FIRST_DAYS if day != _DAY_ZERO)  # noqa: DTZ001 - of any clock
_LEAST_UNIX = 100_000_000
"""Numbers below are taken for dates without separators, or for nothing."""
_AROUND_ZEROS = "0-/.: TZ"


def parse(text: str) -> datetime | None:
    """Return the time that `text` means, naive if it names no time zone; None if it cannot be read."""
    text = invisible.trimmed(text)
    if not text.isdigit():
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    if not text or len(text) > _LONGEST:
        return None
    if text[-1] == ")":
        text = _COMMENT.sub("", text)
    if not text.isascii():
        return None
    try:
        return _unusual(text)
    except (ValueError, OverflowError):
        return None


def is_placeholder(text: str) -> bool:
    """Return whether `text` stands for "no date": zeros, or the first or last moment that some program knows.

    What can be read is judged by its moment, in whatever notation it is written; what cannot, by its spelling.
    """
    text = invisible.trimmed(text)
    if (text[:1] == "2" and text[4:5] == "-") or len(text) > _LONGEST or not text.isascii():
        return False
    if not text.strip(_AROUND_ZEROS):
        return "0" in text
    if (date := _DOTNET.fullmatch(text)) is not None:
        return _is_unset(int(date[1]) // 1000)
    if (number := _SINCE_EPOCH.fullmatch(text)) is not None:
        whole = int(number[1] or float(text))
        if abs(whole) >= _LEAST_UNIX and any(_is_unset(whole // unit) for unit in (1, 1000, 1_000_000)):
            return True
        if len(text) not in _COMPACT:
            return False
    return _is_placeholder_as_written(text) or ((moment := parse(text)) is not None and _is_placeholder_moment(moment))


def _is_placeholder_as_written(text: str) -> bool:
    """Return whether `text` is a placeholder that no calendar has or whose day and month are ambiguous."""
    if (date := _INTERNET.fullmatch(text)) is not None:  # a year or a day of no calendar, such as 00 Jan 1900
        return int(date[3]) in _ENDLESS_YEARS or (int(date[3]), _MONTHS.get(date[2].lower()), int(date[1])) == _DAY_ZERO
    result = _PLACEHOLDER.match(text)
    if result is None:
        return False
    year = int(result["year"] or result["last"])
    if year in _ENDLESS_YEARS:
        return True
    if result["midnight"] is None:
        return False
    days = (result["month"], result["day"]), (result["a"], result["b"]), (result["b"], result["a"])
    return any((year, int(month), int(day)) in _FIRST_DAYS for month, day in days if month is not None)


def _is_placeholder_moment(moment: datetime) -> bool:
    """Return whether a moment is a placeholder by its own clock or, if it names a time zone, in UTC."""
    clocks = [moment.replace(tzinfo=None)]
    if (offset := moment.utcoffset()) is not None:
        try:
            clocks.append(clocks[0] - offset)
        except OverflowError:  # in UTC it lies before year 1 or after year 9999, which are placeholders themselves
            return True
    return any(clock.year in _ENDLESS_YEARS or clock in _FIRST_MOMENTS for clock in clocks)


def _is_unset(seconds: int) -> bool:
    """Return whether a Unix time is a placeholder."""
    try:
        return _is_placeholder_moment(_EPOCH + timedelta(seconds=seconds))
    except OverflowError:
        return False


def _unusual(text: str) -> datetime | None:
    if (number := _NUMBER.fullmatch(text)) is not None:
        return _numeric(number[1], number[2] or "")
    if _EXPONENT.fullmatch(text):
        return _numeric(str(int(float(text))), "")
    if (variant := _VARIANT.fullmatch(text)) is not None:
        return _variant(variant)
    if (date := _DOTNET.fullmatch(text)) is not None:
        moment = _EPOCH + timedelta(milliseconds=int(date[1]))
        return moment.astimezone(_zone(date[2] + date[3], date[4])) if date[2] else moment
    if (script := _SCRIPT.fullmatch(text)) is not None:
        month, day, year, hour, minute, second, hours, minutes = script.groups()
        return _named(day, month, year, hour, minute, second, _zone(hours, minutes))
    return None if (internet := _INTERNET.fullmatch(text)) is None else _internet(internet)


def _numeric(whole: str, fraction: str) -> datetime | None:
    """Return the time that digits alone mean: Unix time, or a date without separators."""
    if len(whole) == 19:  # nanoseconds
        whole, fraction = whole[:16], ""
    unit = _UNITS.get(len(whole))
    if unit is not None and whole[0] != "0":
        return _EPOCH + timedelta(microseconds=int(whole) * unit + int(unit * float(f"0.{fraction or 0}")))
    if whole[:2] in ("19", "20") and not fraction:
        if len(whole) == 17:
            return datetime.strptime(whole + "000", "%Y%m%d%H%M%S%f")  # noqa: DTZ007 - it names no zone
        if len(whole) in _COMPACT:
            return datetime.strptime(whole, _COMPACT[len(whole)])  # noqa: DTZ007 - it names no zone
    return None


def _variant(result: re.Match[str]) -> datetime | None:
    year, _, month, day, day_of_year, hour, minute, second, fraction, half, hours, minutes, utc = result.groups()
    clock = int(hour or 0)
    if half is not None:
        if not 1 <= clock <= 12:
            return None
        clock = clock % 12 + (12 if half.upper() == "PM" else 0)
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    zone = UTC if utc else _zone(hours, minutes) if hours else None
    if day_of_year is None:
        date = datetime(int(year), int(month), int(day), tzinfo=zone)
    else:
        date = datetime(int(year), 1, 1, tzinfo=zone) + timedelta(days=int(day_of_year) - 1)
        if date.year != int(year):
            return None
    return _at(date, clock, int(minute or 0), int(second or 0), micros)


def _at(date: datetime, hour: int, minute: int, second: int, micros: int = 0) -> datetime:
    """Return the time on a day. Its end is 24:00, and its last minute may have a second 60 (in UTC, if it has a zone).

    Raises ValueError for any other time that no clock shows.
    """
    if hour == 24 and not minute and not second and not micros:
        return date + timedelta(days=1)
    if second != 60:
        return date.replace(hour=hour, minute=minute, second=second, microsecond=micros)
    moment = date.replace(hour=hour, minute=minute, second=59) + timedelta(seconds=1)
    if (moment - (moment.utcoffset() or timedelta())).time() != time():
        raise ValueError("a second 60 is not at the end of a day")
    return moment + timedelta(microseconds=micros)


def _internet(result: re.Match[str]) -> datetime | None:
    """Return the time of a date of RFC 1123 or RFC 850, whose year is taken as written: 0001 is not 2001."""
    day, month, year, hour, minute, second, hours, minutes = result.groups()
    return _named(day, month, year, hour, minute, second, UTC if hours is None else _zone(hours, minutes))


def _named(
    day: str, month: str, year: str, hour: str, minute: str, second: str | None, zone: timezone
) -> datetime | None:
    """Return the time of a date whose month has a name; None if that is not a month's."""
    number = _MONTHS.get(month.lower())
    if number is None:
        return None
    return _at(datetime(int(year), number, int(day), tzinfo=zone), int(hour), int(minute), int(second or 0))


def _zone(hours: str, minutes: str | None) -> timezone:
    offset = timedelta(hours=int(hours[1:]), minutes=int(minutes or 0))
    return timezone(-offset if hours[0] == "-" else offset)
