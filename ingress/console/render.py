"""Turns a page into HTML: Jinja templates, which get one Struct each and escape everything."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import NamedTuple

import jinja2
import msgspec
from markupsafe import Markup

from ingress.console import notices, words
from ingress.console.session import Operator

_PACKAGE = resources.files("ingress.console")
STATIC = "/console/static"


class Section(NamedTuple):
    """A part of the console, in the navigation."""

    path: str
    name: str
    key: str
    """The key that goes there, after `g`."""


SECTIONS = (
    Section("/console", "Now", "n"),
    Section("/console/transfers", "Transfers", "t"),
    Section("/console/events", "Events", "e"),
    Section("/console/quarantine", "Quarantine", "q"),
    Section("/console/deliveries", "Deliveries", "d"),
    Section("/console/subscriptions", "Subscriptions", "s"),
    Section("/console/actions", "Actions", "a"),
)
"""The parts of the console, in the order of the navigation."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Media types of the assets, by suffix."""


class Asset(msgspec.Struct, frozen=True):
    """A file of the style or the behaviour, whose address changes with its content."""

    name: str
    content: bytes
    media_type: str

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"{STATIC}/{hashlib.sha256(self.content).hexdigest()[:12]}/{self.name}"


class Chrome(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame around every page shows."""

    title: str
    operator: Operator | None
    environment: str
    path: str
    """The path of the page with its query, which an action returns to."""
    needs: int | None = None
    """How many things need somebody; None if that is not known."""
    done: str | None = None
    """What the action before has done, as the address has it."""
    now: datetime

    @property
    def notice(self) -> str | None:
        """What the action before has done, as a sentence."""
        return notices.text(self.done)

    @property
    def is_problem(self) -> bool:
        """Whether the notice says that nothing was done."""
        return notices.is_problem(self.done)

    @property
    def state(self) -> tuple[str, str]:
        """The state of the pipeline: the kind of its shape, and words."""
        if self.needs is None:
            return "off", "State not known"
        if not self.needs:
            return "good", "All well"
        return "warn", "1 thing needs you" if self.needs == 1 else f"{self.needs} things need you"

    def is_in(self, path: str) -> bool:
        """Return whether the page belongs to a section of the navigation."""
        own = self.path.partition("?")[0]
        return own == path or (path != SECTIONS[0].path and own.startswith(f"{path}/"))


@cache
def assets() -> dict[str, Asset]:
    """Return every asset by its name."""
    files = [file for file in (_PACKAGE / "static").iterdir() if "." + file.name.rpartition(".")[2] in MEDIA_TYPES]
    return {
        file.name: Asset(file.name, file.read_bytes(), MEDIA_TYPES["." + file.name.rpartition(".")[2]])
        for file in files
    }


@cache
def environment() -> jinja2.Environment:
    """Return the templates' environment."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("ingress.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters |= {
        "moment": moment,
        "ago": ago,
        "written_moment": written_moment,
        "duration": duration,
        "size": size,
        "number": number,
        "capped": capped,
        "plural": plural,
    }
    templates.filters |= words.FILTERS
    templates.globals["sections"] = SECTIONS
    templates.globals["stages"] = words.STAGES
    templates.globals["asset"] = lambda name: assets()[name].url
    templates.globals["has_asset"] = lambda name: name in assets()
    return templates


def page(template: str, view: msgspec.Struct, chrome: Chrome) -> str:
    """Return the HTML of a whole page."""
    return environment().get_template(template).render(view=view, chrome=chrome)


def moment(at: datetime | None) -> str:
    """Return a time in UTC, to the second."""
    if at is None:
        return "–"
    exact = at.astimezone(UTC).isoformat()
    # Nothing in it needs escaping, which would take longer than all the rest: lists hold a hundred times.
    return Markup(f'<time datetime="{exact}">{_seconds(exact)}</time>')  # noqa: S704


def written_moment(text: str) -> str:
    """Return a time that a document has as text like others, if it is in ISO 8601; without a time zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, or in how long it will be, with the exact time beside."""
    if at is None:
        return "–"
    seconds = (now - at).total_seconds()
    text = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    exact = at.astimezone(UTC).isoformat()
    return Markup(f'<time datetime="{exact}" title="{_seconds(exact)} UTC">{text}</time>')  # noqa: S704


def _seconds(exact: str) -> str:
    """Return a time in ISO 8601 as people read it, such as `2026-11-21 09:30:00`."""
    return exact[:19].replace("T", " ")


def duration(seconds: float) -> str:
    """Return a duration such as `6 h`, `15 min` or `1.5 s`, in the largest unit that fits it."""
    for unit_seconds, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_seconds or seconds == unit_seconds:
            return f"{seconds / unit_seconds:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def size(count: int) -> str:
    """Return a number of bytes such as `1.4 kB`."""
    for unit_bytes, unit in ((1_000_000, "MB"), (1000, "kB")):
        if count >= unit_bytes:
            return f"{count / unit_bytes:.1f} {unit}"
    return f"{count} B"


def number(count: float) -> str:
    """Return a number with its thousands apart, such as `12,345`."""
    return f"{count:,}"


def capped(count: int, cap: int) -> str:
    """Return a number that was not counted beyond `cap`, such as `10,000+`."""
    return f"{cap:,}+" if count > cap else f"{count:,}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with its noun: `1 delivery`, `2 deliveries`. `nouns`: the plural if it is not formed with s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
