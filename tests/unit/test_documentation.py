"""The documents agree with the code: what they name exists, and what is public is named in docs/contract.md."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from deploy.cli.main import app
from ingress.api.routes import BASIC, V1
from schemas import registry
from schemas.config import Config
from tests.support import promql

ROOT = Path(__file__).parents[2]
PRODUCTION = ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy")
CONTRACT = (ROOT / "docs/contract.md").read_text()
ARCHITECTURE = (ROOT / "docs/ARCHITECTURE.md").read_text()
SCHEMA = (ROOT / "tests/integration/schema.txt").read_text()

CITED = re.compile(r"contract(?:\.md)?((?:,? (?:and )?§\d+)+)", re.IGNORECASE)
NAMED = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.\w+)(?::([\w.]+))?`")
FOLDER = re.compile(r"`((?:[\w.-]+/)+)`")


def sections(text: str) -> dict[str, str]:
    """The sections of the contract by number."""
    parts = re.split(r"^## (\d+)\. .*$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_cited_section_of_the_contract_exists() -> None:
    cited: dict[str, list[str]] = {}
    for folder in (*PRODUCTION, "bench", "tests", "docs"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".sql", ".md") and file.name != Path(__file__).name:
                for match in CITED.finditer(file.read_text()):
                    for number in re.findall(r"\d+", match[1]):
                        cited.setdefault(number, []).append(str(file.relative_to(ROOT)))
    assert len(cited) >= 5
    assert {number: files for number, files in cited.items() if number not in sections(CONTRACT)} == {}


@cache
def names_of(file: Path) -> frozenset[str]:
    """Every class, function, method and constant of a module, or every query of an SQL file."""
    text = file.read_text()
    if file.suffix == ".sql":
        return frozenset(re.findall(r"^-- name: (\w+)\s*$", text, re.MULTILINE))
    return frozenset(_names(ast.parse(text).body, ""))


def _names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        elif isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from _names(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (prefix + name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


def test_everything_that_the_architecture_names_exists() -> None:
    references = NAMED.findall(ARCHITECTURE)
    assert len(references) > 100
    missing = {file for file, _ in references if not (ROOT / file).is_file()}
    missing |= {folder for folder in FOLDER.findall(ARCHITECTURE) if not (ROOT / folder).is_dir()}
    assert missing == set()
    assert {f"{file}:{name}" for file, name in references if name and name not in names_of(ROOT / file)} == set()


def test_every_report_has_its_tests() -> None:
    text = (ROOT / "tests/reports/README.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 37
    for row in rows:
        references = NAMED.findall(row)
        assert references, row
        for file, name in references:
            assert name in names_of(ROOT / file) if name else (ROOT / file).is_file(), f"{file}:{name}"


def headings(page: Path) -> set[str]:
    """The anchors of a page."""
    names = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in names}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: str(page.name)
)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.is_file(), link
        assert not anchor or anchor in headings(target), link


async def test_the_contract_names_every_metric() -> None:
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in await promql.exposed()}
    labelled = dict(re.findall(r"`(crossdock_\w+)(?:\{([\w,]+)\})?`", sections(CONTRACT)["3"]))
    assert known - labelled.keys() == set()
    labels = {re.sub(r"_(bucket|sum|count)$", "", name): has - {"le"} for name, has in (await promql.exposed()).items()}
    given = {name: set(filter(None, text.split(","))) for name, text in labelled.items()}
    assert {name: has for name, has in given.items() if has != labels.get(name)} == {}


def commands(group: Any, path: str = "") -> Iterator[str]:
    """Every command as it is typed, without the program's name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_the_contract_names_every_command() -> None:
    rows = [line for line in sections(CONTRACT)["1"].splitlines() if line.startswith("|")]
    every = list(commands(typer.main.get_command(app)))
    assert len(every) > 20
    for command in every:
        assert any(all(re.search(rf"`[^`]*\b{word}\b", row) for word in command.split()) for row in rows), command


def test_the_contract_names_every_route_of_the_api() -> None:
    for path in {route.path for route in V1}:
        assert f"{path}`" in sections(CONTRACT)["6"], path
    for path in {path for _, path, _ in BASIC}:
        assert f"`{path.replace('{id}', '{webhookId}')}`" in sections(CONTRACT)["7"], path


def test_the_contract_names_every_url_of_the_webhooks() -> None:
    for platform in registry.platforms().values():
        for event in platform.events:
            assert f"`/hooks/{platform.name}/{{account}}/{event.path}`" in sections(CONTRACT)["3"]
            assert all(f"`{type_}`" in sections(CONTRACT)["3"] for type_ in event.types)


def settings() -> Iterator[str]:
    """Every key of the configuration that stands in a section or in an account."""
    shapes = [field.type for field in msgspec.structs.fields(Config)]
    shapes += [platform.account for platform in registry.platforms().values()]
    for shape in shapes:
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            yield from (field.encode_name for field in msgspec.structs.fields(shape))


def test_the_contract_names_every_setting() -> None:
    every = set(settings())
    assert len(every) > 40
    assert {name for name in every if f"`{name}`" not in sections(CONTRACT)["2"]} == set()


def test_the_contract_names_every_column_of_its_views() -> None:
    columns = {
        block.splitlines()[0]: [line.split()[0] for line in block.splitlines()[1:]]
        for block in re.split(r"\n\n", SCHEMA)
        if re.fullmatch(r"\w+", block.splitlines()[0])
    }
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([\w, ]+)`", sections(CONTRACT)["5"], re.MULTILINE)
    assert len(rows) >= 8
    assert {view: columns.split(", ") for view, columns in rows} == {view: columns[view] for view, _ in rows}
    assert columns["current_events"] == [name for name in columns["events"] if name != "newest"]
