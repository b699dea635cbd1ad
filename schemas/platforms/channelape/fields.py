"""`additionalFields`, in either shape and under either spelling."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import UNSET

from schemas import lenient
from schemas.lenient import Scalar
from schemas.platforms.channelape.wire import AdditionalFields

SPELLINGS = MappingProxyType(
    {
        # the examples' name: the name in the document's tables
        "ship_by_date": "ShipByDate",
        "sap_source_location": "PARTN",
        "sap_source_storage_location": "LIFNR",
        "sap_destination_location": "WERKS",
        "sap_destination_storage_location": "LGORT",
        "sap_unit_of_measure": "UnitOfMeasure",
    }
)
_EXAMPLES_NAME = MappingProxyType({table: example for example, table in SPELLINGS.items()})
_NONE: Mapping[str, Scalar] = MappingProxyType({})


def values(fields: AdditionalFields) -> dict[str, tuple[Scalar, ...]]:
    """Every value by name, in the order sent: in an array a name may repeat, and nothing of that is lost.

    Names are the examples', whichever spelling was sent.
    """
    if fields is None or fields is UNSET:
        return {}
    if isinstance(fields, dict):
        pairs = list(fields.items())
    else:
        pairs = [(name, field.value) for field in fields if (name := lenient.identifier(field.name)) is not None]
    found: dict[str, list[Scalar]] = {}
    for sent, value in pairs:
        found.setdefault(_EXAMPLES_NAME.get(sent, sent), []).append(value)
    return {name: tuple(said) for name, said in found.items()}


def collect(fields: AdditionalFields | Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Return one value per name, to be asked for with `first`: of those that repeat, the first that says anything.

    An array is gone through once, however many names are asked for afterwards.
    """
    if isinstance(fields, Mapping):
        return fields  # the usual shape, without turning all of it into something else
    if not isinstance(fields, list):
        return _NONE
    found: dict[str, Scalar] = {}
    for field in fields:
        sent = lenient.identifier(field.name)
        if sent is None:
            continue
        name = _EXAMPLES_NAME.get(sent, sent)
        if name not in found or (lenient.identifier(found[name]) is None and _tells_more(field.value, found[name])):
            found[name] = field.value
    return found


def _tells_more(value: Scalar, known: Scalar) -> bool:
    return lenient.is_absent(known) or lenient.identifier(value) is not None


def as_sent(fields: AdditionalFields | Mapping[str, Scalar], name: str) -> Scalar:
    """The value of `name`, a name with one spelling, as it was sent; None where there is none."""
    return (fields if type(fields) is dict else collect(fields)).get(name)


def first(fields: AdditionalFields | Mapping[str, Scalar], name: str) -> str | None:
    """The value of `name` (the examples' spelling), without blanks at its ends; None where it says nothing.

    Who asks for several names of an order collects them once.
    """
    collected = fields if type(fields) is dict else collect(fields)
    said = lenient.identifier(collected.get(name))
    return lenient.identifier(collected.get(SPELLINGS[name])) if said is None and name in SPELLINGS else said
