"""The containers, read rather than run: what they name exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deploy import config
from deploy.cli.main import app

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "crossdock"}


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in OURS[name]["command"]:
        assert hasattr(command, "commands"), f"{word} is no command"
        command = command.commands[word]
    assert not hasattr(command, "commands")


def test_every_process_has_a_service() -> None:
    command: Any = typer.main.get_command(app)
    workers = [["worker", name] for name in command.commands["worker"].commands]
    commands = [service["command"] for service in OURS.values()]
    for wanted in (["ingress"], ["migrate"], ["topology", "apply"], *workers):
        assert wanted in commands


def test_every_variable_of_ours_is_read() -> None:
    code = "".join(path.read_text() for path in (ROOT / "deploy").rglob("*.py"))
    named = {name for service in OURS.values() for name in service["environment"]}
    named |= {name for name in re.findall(r"([A-Z_]+)=", DOCKERFILE) if name.startswith("CROSSDOCK")}
    assert named >= {"AMQP_URL", "DATABASE_URL", "CROSSDOCK_CONFIG"}
    assert {name for name in named if f'"{name}"' not in code} == set()


def test_every_dependency_is_a_service_that_can_meet_its_condition() -> None:
    for service in COMPOSE["services"].values():
        for name, wanted in service.get("depends_on", {}).items():
            other = COMPOSE["services"][name]
            if wanted["condition"] == "service_healthy":
                assert "test" in other["healthcheck"]
            else:
                assert other["command"] in (["migrate"], ["topology", "apply"])


def test_no_password_is_written_down() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASS" in name or name.endswith("_URL"):
                assert "${" in value
                assert ":?" in value


def test_ports_and_settings_agree() -> None:
    loaded = config.load(ROOT / "deploy/docker/crossdock.toml")
    assert COMPOSE["services"]["ingress"]["ports"] == [f"127.0.0.1:{loaded.ingress.port}:{loaded.ingress.port}"]
    assert f":{loaded.admin.port}/healthz" in DOCKERFILE
    assert loaded.accounts == {}


def test_the_image_runs_as_nobody_in_particular_from_the_locked_dependencies() -> None:
    assert re.search(r"^USER (?!root|0)", DOCKERFILE, re.MULTILINE)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists()
    assert "--require-hashes -r requirements/run.txt" in DOCKERFILE
