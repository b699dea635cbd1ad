"""The language of all code: what packages say about themselves, docstrings, names and texts that people read."""

import ast
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCTION = ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy")
PACKAGES = sorted(
    file.parent for name in (*PRODUCTION, "bench", "tests") for file in (ROOT / name).rglob("__init__.py")
)
FOLDERS = sorted({*PACKAGES, ROOT / "bench" / "peers"})
"""With the folder of programs that are not modules of ours."""

BANNED = {"one", "found", "said", "told", "there", "about", "made", "asked", "wanted", "heard"}
IS_NO = re.compile(r"(?<!there )\bis no\b(?! (?:longer|shorter|more|less|older|later|larger|smaller)\b)", re.IGNORECASE)
Violation = tuple[str, str, int, str]  # kind, file, line, text


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name of a variable, parameter, attribute, function or alias that the module defines."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string that stands as a statement of its own: of modules, classes and functions, and of attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                yield node.lineno, text


@cache
def violations(package: Path) -> list[Violation]:
    """The violations in the package's own modules, without those of the packages below it."""
    return list(_violations(package))


def _violations(package: Path) -> Iterator[Violation]:
    for file in sorted(package.glob("*.py")):
        tree, path = ast.parse(file.read_text()), str(file.relative_to(ROOT))
        yield from (("name", path, line, name) for line, name in _names(tree) if name.strip("_") in BANNED)
        yield from (("docstring", path, line, text) for line, text in _docstrings(tree) if len(text.split()) < 4)
        yield from (("negation", path, line, text) for line, text in _strings(tree) if IS_NO.search(text))


def _name(package: Path) -> str:
    return ".".join(package.relative_to(ROOT).parts)


@pytest.mark.parametrize("package", FOLDERS, ids=_name)
def test_names_docstrings_and_messages_are_plain(package: Path) -> None:
    lines = [f"{path}:{line}: {kind}: {text}" for kind, path, line, text in violations(package)]
    assert lines == []


@pytest.mark.parametrize("package", PACKAGES, ids=_name)
def test_every_package_says_what_lives_in_it(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) >= 3, "what lives here, what must not, and where to begin reading"
    begin = re.search(r"^Begin with (.*)", text, re.MULTILINE | re.DOTALL)
    assert begin is not None, "where to begin reading"
    for name in re.findall(r"`([\w.]+)`", begin[1]):
        assert _exists(f"{_name(package)}.{name}") or _exists(name), name


def _exists(name: str) -> bool:
    """Whether the dotted name is that of a module, or of something in a module."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True
