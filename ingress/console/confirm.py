"""The page that every action on many things shows first: what is done, to how many things, and what follows."""

from collections.abc import Sequence

import msgspec

from ingress.console.visit import Page

TYPED_ABOVE = 100
"""Above this many things, the operator types the number before the button works."""


class Button(msgspec.Struct, frozen=True, kw_only=True):
    """A button of the form."""

    label: str
    name: str = ""
    value: str = ""
    is_quiet: bool = False


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the page asks."""

    question: str
    """Such as `Send 148 deliveries again?`"""
    problem: str = ""
    """What was wrong with the answer before; empty if it is asked for the first time."""
    what: str
    """The things in words: how many, of whom, from when to when."""
    consequence: str = ""
    action: str
    """Where the form is sent."""
    fields: Sequence[tuple[str, str]] = ()
    """Hidden fields, which select the same things again."""
    buttons: Sequence[Button]
    typed: str = ""
    """The number that the operator types; empty if nothing is typed."""
    takes_note: bool = True
    back: str
    """The path that `Cancel` leads to."""


def page(confirmation: Confirmation) -> Page:
    """Return the page that asks for confirmation."""
    status = 400 if confirmation.problem else 200
    return Page(template="confirm.html", view=confirmation, title=confirmation.question, status=status)


def typed_for(count: int, *, is_exact: bool = True) -> str:
    """Return what the operator types to confirm an action on `count` things; empty for few of them."""
    return str(count) if count > TYPED_ABOVE or not is_exact else ""
