"""The containers, read rather than run: what they name exists."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deploy import config, sections
from deploy.cli.main import app
from deploy.process import CLOSE_TIMEOUT
from tests.support.image import DOCKERFILE, copied

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "crossdock"}


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in OURS[name]["command"]:
        assert hasattr(command, "commands"), f"{word} is not a command"
        command = command.commands[word]
    assert not hasattr(command, "commands")


def test_every_process_has_a_service() -> None:
    command: Any = typer.main.get_command(app)
    workers = [["worker", name] for name in command.commands["worker"].commands]
    commands = [service["command"] for service in OURS.values()]
    for expected in (["ingress"], ["api"], ["console"], ["migrate"], ["topology", "apply"], *workers):
        assert expected in commands


def test_every_variable_of_ours_is_read() -> None:
    code = "".join(path.read_text() for path in (ROOT / "deploy").rglob("*.py"))
    named = {name for service in OURS.values() for name in service["environment"]}
    named |= {name for name in re.findall(r"([A-Z_]+)=", DOCKERFILE) if name.startswith("CROSSDOCK")}
    assert named >= {"AMQP_URL", "DATABASE_URL", "CROSSDOCK_CONFIG"}
    assert {name for name in named if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("name", ["ingress", "route", "store", "poll", "deliver", "api", "console"])
def test_each_process_gets_its_own_secrets_and_its_own_database_user(name: str) -> None:
    environment = OURS[name]["environment"]
    assert {variable for variable, kinds in sections.VARIABLES.items() if name in kinds} == environment.keys()
    if "DATABASE_URL" in environment:
        assert environment["DATABASE_URL"].startswith(
            f"postgresql://crossdock_{name}_login:${{{name.upper()}_PASSWORD:?"
        )
    # What waits for its user also waits for the roles, and for the schema before them.
    assert ("logins" in OURS[name]["depends_on"]) == ("DATABASE_URL" in environment)
    assert ("topology" in OURS[name]["depends_on"]) == ("AMQP_URL" in environment)


def test_every_user_of_a_url_is_made_with_the_password_in_it() -> None:
    script = (ROOT / "deploy/docker/logins.sql").read_text()
    passwords = COMPOSE["services"]["logins"]["environment"].keys() - {"PGHOST", "PGUSER", "PGDATABASE", "PGPASSWORD"}
    urls = " ".join(service["environment"].get("DATABASE_URL", "") for service in OURS.values())
    users = dict(re.findall(r"crossdock_(\w+)_login:\$\{(\w+):", urls))
    assert set(users.values()) == passwords
    for kind, password in users.items():
        assert f"\\getenv {kind} {password}\nALTER ROLE crossdock_{kind}_login PASSWORD :'{kind}';" in script
        assert f"GRANT crossdock_{kind} TO crossdock_{kind}_login;" in script


def test_every_dependency_is_a_service_that_can_meet_its_condition() -> None:
    for service in COMPOSE["services"].values():
        for name, dependency in service.get("depends_on", {}).items():
            other = COMPOSE["services"][name]
            if dependency["condition"] == "service_healthy":
                assert "test" in other["healthcheck"]
            else:
                assert other["command"] in (["migrate"], ["topology", "apply"]) or name == "logins"


def test_no_password_is_written_down() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASS" in name or name.endswith("_URL"):
                assert "${" in value
                assert ":?" in value


def test_ports_and_settings_agree() -> None:
    loaded = config.load(ROOT / "deploy/docker/crossdock.toml")
    assert COMPOSE["services"]["ingress"]["ports"] == [f"127.0.0.1:{loaded.ingress.port}:{loaded.ingress.port}"]
    assert COMPOSE["services"]["console"]["ports"] == [f"127.0.0.1:{loaded.console.port}:{loaded.console.port}"]
    assert f":{loaded.admin.port}/healthz" in DOCKERFILE
    assert loaded.accounts == {}
    assert loaded.ingress.host == loaded.api.host == loaded.console.host == loaded.admin.host == "0.0.0.0"


def test_every_process_has_a_health_check_on_the_admin_port() -> None:
    port = config.load(ROOT / "deploy/docker/crossdock.toml").admin.port
    for service in OURS.values():
        if service["command"][0] in ("ingress", "api", "console", "worker"):
            assert service["healthcheck"]["test"][:3] == ["CMD", "python", "-c"]
            assert f"http://127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][3]
        else:
            assert service["healthcheck"] == {"disable": True}  # it is done before anybody asks


def test_the_health_check_reports_readiness(tmp_path: Path) -> None:
    """The very command, against nobody: a check that can't fail checks nothing."""
    command = OURS["ingress"]["healthcheck"]["test"][1:]
    script = command[2].replace("8081", "1")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path).returncode == 1


def test_it_has_longer_to_stop_than_it_needs() -> None:
    loaded = config.load(ROOT / "deploy/docker/crossdock.toml")
    for service in OURS.values():
        assert float(service["stop_grace_period"].removesuffix("s")) > loaded.process.drain_timeout + CLOSE_TIMEOUT


def test_volumes_are_where_the_images_keep_their_data() -> None:
    services = COMPOSE["services"]
    assert services["postgres"]["image"] == "postgres:18"
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert services["rabbitmq"]["image"] == "rabbitmq:4"
    assert services["rabbitmq"]["volumes"] == ["rabbitmq:/var/lib/rabbitmq"]
    for service in OURS.values():
        (mounted,) = service["volumes"]
        source, target, mode = mounted.split(":")
        assert (ROOT / source).is_file()
        assert f"CROSSDOCK_CONFIG={target}" in DOCKERFILE
        assert mode == "ro"


def test_the_image_runs_as_an_unprivileged_user_with_locked_dependencies() -> None:
    assert re.search(r"^USER (?!root|0)", DOCKERFILE, re.MULTILINE)
    for name in copied():
        assert (ROOT / name).exists()
    assert "ARG REQUIREMENTS=run\n" in DOCKERFILE
    assert "--require-hashes -r requirements/$REQUIREMENTS.txt" in DOCKERFILE
    assert "--require-hashes -r requirements/build.txt" in DOCKERFILE


def test_only_copied_files_reach_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_through = {line[1:] for line in lines if line[0] == "!"}
    assert let_through == {name for name in copied() if not name.startswith("deploy/")}


def test_the_requirements_with_traces_include_those_without() -> None:
    locked = {name: set((ROOT / f"requirements/{name}.txt").read_text().split()) for name in ("run", "otel")}
    assert locked["run"] < locked["otel"]
    assert any(name.startswith("opentelemetry-sdk==") for name in locked["otel"])


def test_it_is_built_with_the_tools_that_are_locked_for_us() -> None:
    build = (ROOT / "requirements/build.txt").read_text()
    assert build.startswith("setuptools==")
    assert build in (ROOT / "requirements/dev.txt").read_text()
