"""Discovery of the platforms: every package under `schemas.platforms` that exports `PLATFORM`."""

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import MappingProxyType

from schemas import erasure
from schemas import platforms as _folder
from schemas.platform import Event, Platform


@cache
def platforms() -> MappingProxyType[str, Platform]:
    """Return all platforms by name, in alphabetical order of their packages."""
    platforms_by_name: dict[str, Platform] = {}
    for module in sorted(pkgutil.iter_modules(_folder.__path__), key=lambda m: m.name):
        if module.ispkg:
            platform: Platform = importlib.import_module(f"{_folder.__name__}.{module.name}").PLATFORM
            platforms_by_name[platform.name] = platform
    return MappingProxyType(platforms_by_name)


def announced_types() -> list[str]:
    """Return the types of the events about shares of answered orders (`Platform.announcement`), sorted."""
    announcements = (platform.announcement for platform in platforms().values())
    return sorted(announcement.event_type for announcement in announcements if announcement is not None)


def event_types() -> list[str]:
    """Return all event types, sorted."""
    types = {type_ for platform in platforms().values() for event in platform.events for type_ in event.types}
    return sorted({*types, *announced_types()})


def published_types() -> list[str]:
    """Return all types of the events on `crossdock.events`, sorted: also that of erasures, which no document has."""
    return sorted({*event_types(), erasure.TYPE})


@cache
def transfer_types() -> frozenset[str]:
    """Return the types of the events whose documents are stock transfer orders, or belong to one."""
    events = (event for platform in platforms().values() for event in platform.events)
    return frozenset(type_ for event in events if event.is_about_transfers for type_ in event.types)


def transfer_order_types() -> frozenset[str]:
    """Return the types of the events whose documents are stock transfer orders themselves."""
    return frozenset(type_ for type_ in transfer_types() if type_.endswith(".stock_transfer_order"))


def event(platform: str, name: str) -> Event:
    """Return the event called `name` of a platform. Raises LookupError, which lists the known names."""
    try:
        known = platforms()[platform]
    except KeyError:
        raise LookupError(f"unknown platform {platform!r}; known: {', '.join(platforms())}") from None
    for candidate in known.events:
        if candidate.name == name:
            return candidate
    raise LookupError(f"unknown event {name!r} of {platform}; known: {', '.join(e.name for e in known.events)}")


def example(platform: str, name: str) -> bytes:
    """Return the bytes of the stored example `name` of a platform. Raises LookupError if there is none."""
    for folder in _folder.__path__:
        file = Path(folder) / platform / "examples" / f"{name}.json"
        if file.is_file():
            return file.read_bytes()
    raise LookupError(f"{platform} has no example {name!r}")
