"""The manifests: valid by the official schemas, and what they name exists."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import pytest
import typer
import yaml

from broker import depths
from deploy import config
from deploy.cli import main
from deploy.process import CLOSE_TIMEOUT
from schemas import topology
from tests.support import promql

ROOT = Path(__file__).parents[2]
BASE, KEDA = ROOT / "deploy/kubernetes/base", ROOT / "deploy/kubernetes/keda"
VERSIONS = ("1.29", "1.33", "1.37")
"""Of Kubernetes; the package holds the schemas of each."""
SCHEMA = json.loads((ROOT / "tests/schemas/keda.json").read_text())

Manifest = dict[str, Any]


def manifests(folder: Path) -> list[Manifest]:
    files = sorted(path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
    return [one for path in files for one in yaml.safe_load_all(path.read_text())]


def named(one: Manifest) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


PLAIN = {named(one): one for one in manifests(BASE)}
SCALERS = {named(one): one for one in manifests(KEDA)}
DEPLOYMENTS = {name: one for name, one in PLAIN.items() if one["kind"] == "Deployment"}
PODS = {name: one for name, one in PLAIN.items() if one["kind"] in ("Deployment", "Job")}
SETTINGS = config.load(BASE / "crossdock.toml")


def pod(one: Manifest) -> Manifest:
    found: Manifest = one["spec"]["template"]["spec"]
    return found


def container(one: Manifest) -> Manifest:
    (only,) = pod(one)["containers"]
    found: Manifest = only
    return found


def environment(one: Manifest) -> set[str]:
    return {entry["name"] for entry in container(one)["env"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", PLAIN)
def test_every_manifest_fits_the_official_schema(name: str, version: str) -> None:
    assert kubernetes_validate.validate(PLAIN[name], version, strict=True) == version


def test_a_mistake_in_a_manifest_is_noticed() -> None:
    wrong = json.loads(json.dumps(PLAIN["Deployment/crossdock-store"]))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", SCALERS)
def test_every_scaler_fits_what_keda_takes(name: str) -> None:
    errors = jsonschema_rs.Draft7Validator(SCHEMA).iter_errors(SCALERS[name])
    assert [str(error) for error in errors] == []


@pytest.mark.parametrize(
    ("field", "value"), [("maxReplicas", 3), ("triggers", [{"type": "rabbitmq", "metadata": {"queueName": "x"}}])]
)
def test_a_mistake_in_a_scaler_is_noticed(field: str, value: Any) -> None:
    wrong = json.loads(json.dumps(SCALERS["ScaledObject/crossdock-store"]))
    wrong["spec"][field] = value
    assert list(jsonschema_rs.Draft7Validator(SCHEMA).iter_errors(wrong))


def test_kustomizations_name_every_file() -> None:
    for folder in (BASE, KEDA):
        said = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
        assert {one for one in said["resources"] if not one.startswith("..")} == files
        assert {one for one in said["resources"] if one.startswith("..")} <= {"../base"}
        for made in said.get("configMapGenerator", []):
            assert all((folder / file).is_file() for file in made["files"])


def test_every_process_has_a_deployment_and_every_command_exists() -> None:
    command: Any = typer.main.get_command(main.app)
    workers = [["worker", name] for name in command.commands["worker"].commands]
    said = [container(one)["args"] for one in DEPLOYMENTS.values()]
    assert sorted(said) == sorted([["ingress"], ["api"], *workers])
    jobs = [container(one)["args"] for one in PLAIN.values() if one["kind"] == "Job"]
    assert jobs == [["migrate"], ["topology", "apply"]]
    assert "apply" in command.commands["topology"].commands


VALID = {
    "AMQP_URL": "amqp://u:p@127.0.0.1:1/",
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x",
    "CROSSDOCK_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}


@pytest.mark.parametrize(
    ("name", "left_out"), [(name, one) for name in PODS for one in sorted(environment(PODS[name]))]
)
def test_each_gets_the_variables_that_its_command_demands(
    name: str, left_out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And no other: each of them is missed when it is left out, and is all that is missed."""
    monkeypatch.chdir(tmp_path)
    for variable in environment(PODS[name]) - {left_out}:
        monkeypatch.setenv(variable, VALID[variable])
    assert main.main(container(PODS[name])["args"]) == 1
    assert f"{left_out} is not set" in capsys.readouterr().err


def test_secrets_are_references_and_the_example_has_every_key() -> None:
    keys = set(PLAIN["Secret/crossdock"]["stringData"])
    for one in PODS.values():
        for entry in container(one)["env"]:
            assert "value" not in entry
            assert entry["valueFrom"]["secretKeyRef"] == {"name": "crossdock", "key": entry["name"]}
            assert entry["name"] in keys
    for reference in SCALERS["TriggerAuthentication/crossdock-rabbitmq"]["spec"]["secretTargetRef"]:
        assert reference["key"] in keys
    assert set(PLAIN["Secret/crossdock"]["stringData"].values()) == {""}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_probes_ports_and_time_to_stop_are_the_process_own(name: str) -> None:
    one, inside = DEPLOYMENTS[name], container(DEPLOYMENTS[name])
    ports = {port["name"]: port["containerPort"] for port in inside["ports"]}
    assert ports.pop("admin") == SETTINGS.admin.port
    wanted = {"crossdock-ingress": SETTINGS.ingress.port, "crossdock-api": SETTINGS.api.port}
    assert ports == ({"http": wanted[one["metadata"]["name"]]} if one["metadata"]["name"] in wanted else {})
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert inside[probe]["httpGet"] == {"path": path, "port": "admin"}
    hook = inside.get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
    needed = float(hook["exec"]["command"][1]) + SETTINGS.process.drain_timeout + CLOSE_TIMEOUT
    assert pod(one)["terminationGracePeriodSeconds"] > needed
    annotations = one["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(SETTINGS.admin.port)


def test_the_admin_port_is_in_no_service() -> None:
    services = [one for one in PLAIN.values() if one["kind"] == "Service"]
    assert {port["targetPort"] for one in services for port in one["spec"]["ports"]} == {"http"}
    assert {one["metadata"]["name"] for one in services} == {"crossdock-ingress", "crossdock-api"}


@pytest.mark.parametrize("name", PODS)
def test_each_runs_as_nobody_in_particular_and_writes_nothing(name: str) -> None:
    one, inside = PODS[name], container(PODS[name])
    user = int(re.findall(r"^USER (\d+)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)[-1])
    assert pod(one)["securityContext"]["runAsUser"] == user
    assert pod(one)["securityContext"]["runAsNonRoot"] is True
    assert inside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(one)["automountServiceAccountToken"] is False
    assert inside["resources"]["requests"].keys() == {"cpu", "memory"}
    mounted = {volume["name"]: volume["mountPath"] for volume in inside["volumeMounts"]}
    assert f"CROSSDOCK_CONFIG={mounted['config']}/crossdock.toml" in (ROOT / "deploy/docker/Dockerfile").read_text()


def test_every_deployment_has_its_budget_and_its_service_finds_it() -> None:
    for one in DEPLOYMENTS.values():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert one["spec"]["selector"]["matchLabels"] == labels
        budget = PLAIN[f"PodDisruptionBudget/{one['metadata']['name']}"]["spec"]
        assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        service = PLAIN.get(f"Service/{one['metadata']['name']}")
        assert service is None or service["spec"]["selector"] == labels


async def test_scalers_look_at_queues_and_metrics_that_exist() -> None:
    known = await promql.exposed()
    queues = {queue.name for queue in topology.topology().queues}
    for one in SCALERS.values():
        if one["kind"] != "ScaledObject":
            continue
        assert f"Deployment/{one['spec']['scaleTargetRef']['name']}" in DEPLOYMENTS
        assert one["spec"]["pollingInterval"] >= depths.INTERVAL
        for trigger in one["spec"]["triggers"]:
            if trigger["type"] == "rabbitmq":
                assert trigger["metadata"]["queueName"] in queues
            else:
                assert promql.problems(trigger["metadata"]["query"], known) == []
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in SCALERS.values() if one["kind"] == "ScaledObject"}
    assert scaled == {"crossdock-store", "crossdock-route", "crossdock-deliver"}
