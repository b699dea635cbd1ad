"""The class of every command: no text that it is given may be empty, or be one that nothing can have."""

import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

F = TypeVar("F", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command whose options and arguments are checked by one rule before it runs.

    An empty text is what a shell makes of a variable that is not set. As a filter it would select everything.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments. Raises BadParameter for an empty text, and for one that is not valid Unicode."""
        # As written, because an empty path is "." once it is converted.
        values, _, _ = self.make_parser(ctx).parse_args(list(args))
        for param in () if values.get("help") else self.get_params(ctx):
            name = param.name or ""
            is_path = isinstance(param, TyperOption | TyperArgument) and param.type_descriptor.is_path
            for text in _texts(values.get(name)):
                if (problem := text_problem(text, is_path=is_path)) is not None:
                    hint = max(param.opts, key=len) if param.param_type_name == "option" else param.metavar or name
                    raise typer.BadParameter(problem, ctx=ctx, param_hint=hint)
        return super().parse_args(ctx, args)


class Commands(typer.Typer):
    """A group of commands, each of which is a Command."""

    def __init__(self, **settings: Any) -> None:
        # Plain help takes half the time to start, and reads the same in a log.
        super().__init__(no_args_is_help=True, rich_markup_mode=None, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """Return a decorator that adds a function as a command."""
        return super().command(name, cls=Command, **settings)


def takes_texts(command: Any) -> bool:
    """Return whether a command has arguments, which may begin with a hyphen."""
    return any(param.param_type_name == "argument" for param in command.params)


def text_problem(text: str, *, is_path: bool = False) -> str | None:
    """Return what is wrong with a text from the command line, or None. A path may have any bytes."""
    if not text or not (is_path or text.strip()):
        return "must not be empty"
    if is_path:
        return None
    from schemas.values import value_problem

    problem = value_problem(text)
    if problem is None:
        return None
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        return problem
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return "can't be read in the encoding of this locale: set LC_ALL=C.UTF-8" if "\0" not in text else problem


def _texts(value: object) -> Iterator[str]:
    """Yield the texts that were given for a parameter."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)
