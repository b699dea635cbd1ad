"""The documents say what is so."""

import re
import tomllib
from pathlib import Path

from storage import roles
from tests.support import promql

ROOT = Path(__file__).parents[2]


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(requirement for extra in project["optional-dependencies"].values() for requirement in extra),
    ]
    named = {re.split(r"[\[<>=~ ]", requirement)[0] for requirement in requirements} - {"crossdock"}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert {name for name in named if not re.search(rf"\b{re.escape(name)}\b", text)} == set()


async def test_the_metrics_that_the_pages_name_exist() -> None:
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs/operations.md").read_text()
    named = set(re.findall(r"`(crossdock_[a-z_]+)", pages))
    known = await promql.exposed()
    named -= set(roles.ALL)
    assert named
    assert named <= known.keys() | {name.removesuffix("_bucket") for name in known}


def test_the_map_names_every_folder() -> None:
    text = (ROOT / "README.md").read_text()
    for folder in ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy", "bench", "tests"):
        assert f"`{folder}/`" in text
        assert (ROOT / folder).is_dir()


def test_the_threat_model_links_to_tests_that_exist() -> None:
    linked = re.findall(r"\]\((.+?)\)", (ROOT / "THREAT_MODEL.md").read_text())
    assert len(linked) > 20
    assert [link for link in linked if not (ROOT / link).is_file()] == []


def test_every_picture_is_shown_somewhere_and_exists() -> None:
    linked = {
        (file.parent / path).resolve()
        for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for path in re.findall(r'(?:src|srcset)="([^"]+\.png)"|!\[[^]]*]\(([^)]+\.png)\)', file.read_text())
        for path in path
        if path and "://" not in path
    }
    assert len(linked) >= 8
    assert linked == {path.resolve() for path in (ROOT / "docs/images").glob("*.png")}
