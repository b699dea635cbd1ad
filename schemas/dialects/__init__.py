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
    """Return all dialects by name, in alphabetical order."""
    dialects_by_name: dict[str, Dialect] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        dialect: Dialect = importlib.import_module(f"{__name__}.{module.name}").DIALECT
        dialects_by_name[dialect.name] = dialect
    return MappingProxyType(dialects_by_name)


def get_dialect(name: str) -> Dialect:
    """Return a dialect. Raises LookupError, which lists the known names."""
    try:
        return dialects()[name]
    except KeyError:
        raise LookupError(f"unknown dialect {name!r}; known: {', '.join(dialects())}") from None
