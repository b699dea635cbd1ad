"""What templates say of types, statuses and quantities: filters, and the shapes that go with words. Pure."""

from collections.abc import Callable

from ingress.console.links import of_subject, type_words
from storage.progress import quantity

DELIVERY_KINDS = {"delivered": "good", "pending": "busy", "failed": "bad", "cancelled": "off", "superseded": "off"}
"""The shape of each status of a delivery (`macros.status`)."""

STAGES = (
    "Why it is here. unreadable: no worker can read it; refused: a rule refused it; failed: a worker failed on it "
    "repeatedly; unrouted: no queue accepted it."
)
"""What the stages of quarantine mean."""


def delivery_kind(status: str) -> str:
    """Return the shape of a delivery's status."""
    return DELIVERY_KINDS.get(status, "neutral")


def outcome_kind(outcome: str) -> str:
    """Return the shape of an attempt's outcome."""
    return {"delivered": "good", "blocked": "off"}.get(outcome, "bad")


FILTERS: dict[str, Callable[..., object]] = {
    "of_subject": of_subject,
    "type_words": type_words,
    "delivery_kind": delivery_kind,
    "outcome_kind": outcome_kind,
    "quantity": quantity,
}
"""Filters of the templates, by name."""
