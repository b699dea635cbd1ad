"""Every named query of `storage/queries/*.sql` is used, and every query that production code names exists."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from storage import sql

ROOT = Path(__file__).parents[2]
PRODUCTION = ("storage", "ingress", "workers", "deploy")
FILES = sorted(file.stem for file in (ROOT / "storage/queries").glob("*.sql"))

Use = tuple[str, str, str]  # module, file of queries, name of the query


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The file and the name of each call of `storage.sql.query`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="query"), args=[ast.Constant(value=str(file)), name]):
                yield file, name
            case ast.Call(func=ast.Name(id="query")):
                raise AssertionError(f"line {node.lineno}: the file of queries is not a literal")


@cache
def strings(package: Path) -> frozenset[object]:
    """Every literal in the modules of a package."""
    trees = (ast.parse(file.read_text()) for file in package.glob("*.py"))
    return frozenset(node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))


@cache
def uses() -> frozenset[Use]:
    """Every use of a query. Where a name is computed, each string of the package that is a query's name counts."""
    every: set[Use] = set()
    for module in (file for name in PRODUCTION for file in (ROOT / name).rglob("*.py")):
        text = module.read_text()
        if "import query" not in text:
            continue
        path = str(module.relative_to(ROOT))
        for file, name in calls(ast.parse(text)):
            match name:
                case ast.Constant(value=str(literal)):
                    every.add((path, file, literal))
                case _:
                    every |= {(path, file, known) for known in sql.queries(file) if known in strings(module.parent)}
    return frozenset(every)


def test_every_query_that_is_named_exists() -> None:
    assert len(uses()) > 100
    assert {use for use in uses() if use[1] not in FILES or use[2] not in sql.queries(use[1])} == set()


@pytest.mark.parametrize("file", FILES)
def test_every_query_is_used(file: str) -> None:
    assert sql.queries(file).keys() - {name for _, used, name in uses() if used == file} == set()
