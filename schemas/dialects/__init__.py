"""The outbound dialects, one module each, found by importing every module here that exports `DIALECT`.

A dialect turns an event into the request that one kind of receiver expects; it sends nothing and knows no schedule.
Begin with `schemas.outbound` (the interface) and `standard` (the default dialect).
"""

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType

from schemas.outbound import Dialect


@cache
def dialects() -> MappingProxyType[str, Dialect]:
    """All dialects by name, in alphabetical order."""
    found: dict[str, Dialect] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        one: Dialect = importlib.import_module(f"{__name__}.{module.name}").DIALECT
        found[one.name] = one
    return MappingProxyType(found)


def get_dialect(name: str) -> Dialect:
    """Raises LookupError with what there is to choose from."""
    try:
        return dialects()[name]
    except KeyError:
        raise LookupError(f"unknown dialect {name!r}; known: {', '.join(dialects())}") from None
