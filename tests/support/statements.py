"""The queries that each kind of process executes, derived from its code.

A process executes every query that its own package names, and those of the functions of `storage` that it can reach.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from storage import sql

ROOT = Path(__file__).parents[2]

Query = tuple[str, str]  # file of queries, name of the query
Function = tuple[str, str]  # module of storage, name of a function; "" is the module's own level


class Code(NamedTuple):
    """The queries and the functions of storage that a function names."""

    queries: frozenset[Query]
    functions: frozenset[Function]


def queries_of(files: Iterable[Path]) -> set[Query]:
    """Return the queries that the code of these files executes, directly or through storage."""
    names: set[Query] = set()
    reached: set[Function] = set()
    waiting: list[Function] = []
    for file in files:
        code = _read(_parse(file), "", _strings(file.parent))
        names |= code.queries
        waiting += code.functions
    while waiting:
        function = waiting.pop()
        if function not in reached:
            reached.add(function)
            code = _storage(function[0]).get(function[1], Code(frozenset(), frozenset()))
            names |= code.queries
            waiting += code.functions
    return names


@cache
def _storage(module: str) -> dict[str, Code]:
    """Return the functions and methods of a module of storage, by name."""
    file = ROOT / "storage" / f"{module}.py"
    if not file.exists():
        return {}
    tree = _parse(file)
    strings = frozenset(_literals([tree]))
    local = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    imports = _imports(tree)
    read: dict[str, Code] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            code = _read(node, module, strings, local, imports)
            known = read.get(node.name, Code(frozenset(), frozenset()))  # a method and a function may share a name
            read[node.name] = Code(known.queries | code.queries, known.functions | code.functions)
    return read


def _read(
    tree: ast.AST,
    module: str,
    strings: frozenset[str],
    local: Iterable[str] = (),
    imports: dict[str, Function] | None = None,
) -> Code:
    imports = _imports(tree) if imports is None else imports
    functions: set[Function] = set()
    queries: set[Query] = set()
    others = set(_literals([tree])) - {
        node.args[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and len(node.args) == 2 and isinstance(node.args[1], ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="query"), args=[ast.Constant(value=str(file)), name]):
                known = _names(file)  # what is computed is one of the function's other strings, or of its module's
                literals = set(_literals([name])) & known or others & known or strings & known
                queries |= {(file, literal) for literal in literals}
            case ast.Attribute(value=ast.Name(id=alias), attr=name) if imports.get(alias, ("", "x"))[1] == "":
                functions.add((imports[alias][0], name))
            case ast.Name(id=name) if name in local:
                functions.add((module, name))
            case ast.Name(id=name) if imports.get(name, ("", ""))[1]:
                functions.add(imports[name])
    return Code(frozenset(queries), frozenset(functions))


def _imports(tree: ast.AST) -> dict[str, Function]:
    """Return the modules and functions of storage by the names under which the code imports them."""
    known: dict[str, Function] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "storage":
            known |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("storage."):
            module = node.module.removeprefix("storage.")
            known |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
    return known


def _names(file: str) -> set[str]:
    return set(sql.queries(file))


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def _strings(folder: Path) -> frozenset[str]:
    return frozenset(_literals(_parse(file) for file in folder.glob("*.py")))


def _literals(trees: Iterable[ast.AST]) -> Iterator[str]:
    for tree in trees:
        yield from (
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
