"""What the documents cite exists, and every package says what lives in it."""

import ast
import re
from pathlib import Path

import pytest

from tests.shell import ROOT

PACKAGES = ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.name == "__init__.py"], ids=lambda f: str(f.parent.relative_to(ROOT))
)
def test_every_package_says_what_lives_in_it(file: Path) -> None:
    text = ast.get_docstring(ast.parse(file.read_text()))
    assert text, "say what lives here, what must not, and where to begin reading"
    is_platform = file.parent.parent.name == "platforms"  # each is described by its PLATFORM
    assert is_platform or len(text.splitlines()) >= 4, "say also what must not live here, and where to begin reading"
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        assert any((folder / name).exists() for folder in (file.parent, ROOT)), name


def test_cited_sections_of_the_contract_exist() -> None:
    contract = (ROOT / "docs" / "contract.md").read_text()
    sections = set(re.findall(r"^## (\d+)\.", contract, re.MULTILINE))
    cited = {(file, number) for file in FILES for number in re.findall(r"contract §(\d+)", file.read_text())}
    assert cited
    assert {(str(file), number) for file, number in cited if number not in sections} == set()


@pytest.mark.parametrize(
    "document", ["docs/ARCHITECTURE.md", "docs/contract.md", "docs/GLOSSARY.md", "CONTRIBUTING.md"]
)
def test_files_and_names_that_documents_mention_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    for path, name in re.findall(r"`((?:[a-z_]+/)+[a-zA-Z_]+\.(?:py|sql|md|txt|toml))(?::([A-Za-z_.]+))?`", text):
        assert (ROOT / path).exists(), path
        for part in name.split(".") if name else ():
            assert re.search(rf"(def|class) {part}\b", (ROOT / path).read_text()), f"{path}:{name}"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target
