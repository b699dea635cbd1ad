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
from deploy import config, sections
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
    return [manifest for path in files for manifest in yaml.safe_load_all(path.read_text())]


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


PLAIN = {named(manifest): manifest for manifest in manifests(BASE)}
SCALERS = {named(manifest): manifest for manifest in manifests(KEDA)}
DEPLOYMENTS = {name: manifest for name, manifest in PLAIN.items() if manifest["kind"] == "Deployment"}
PODS = {name: manifest for name, manifest in PLAIN.items() if manifest["kind"] in ("Deployment", "Job")}
SETTINGS = config.load(BASE / "crossdock.toml")


def pod(manifest: Manifest) -> Manifest:
    template: Manifest = manifest["spec"]["template"]["spec"]
    return template


def container(manifest: Manifest) -> Manifest:
    (only,) = pod(manifest)["containers"]
    first: Manifest = only
    return first


def environment(manifest: Manifest) -> set[str]:
    return {entry["name"] for entry in container(manifest)["env"]}


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
        customization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
        assert {resource for resource in customization["resources"] if not resource.startswith("..")} == files
        assert {resource for resource in customization["resources"] if resource.startswith("..")} <= {"../base"}
        for generated in customization.get("configMapGenerator", []):
            assert all((folder / file).is_file() for file in generated["files"])


def test_every_process_has_a_deployment_and_every_command_exists() -> None:
    command: Any = typer.main.get_command(main.app)
    workers = [["worker", name] for name in command.commands["worker"].commands]
    arguments = [container(deployment)["args"] for deployment in DEPLOYMENTS.values()]
    assert sorted(arguments) == sorted([["ingress"], ["api"], ["console"], *workers])
    jobs = [container(manifest)["args"] for manifest in PLAIN.values() if manifest["kind"] == "Job"]
    assert jobs == [["migrate"], ["topology", "apply"]]
    assert "apply" in command.commands["topology"].commands


VALID = {
    "AMQP_URL": "amqp://u:p@127.0.0.1:1/",
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x",
    "CROSSDOCK_CONSOLE_TOKEN": "a-token",
    "CROSSDOCK_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}


OPTIONAL = {("Deployment/crossdock-console", "AMQP_URL")}
"""What a process can do without: the console then says that it has not asked RabbitMQ."""


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        (name, variable)
        for name in PODS
        for variable in sorted(environment(PODS[name]))
        if (name, variable) not in OPTIONAL
    ],
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
    for manifest in PODS.values():
        kind = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        for entry in container(manifest)["env"]:
            has_user = entry["name"] == "DATABASE_URL" and kind != "migrate"
            key = f"DATABASE_URL_{kind.upper()}" if has_user else entry["name"]
            assert "value" not in entry
            assert entry["valueFrom"]["secretKeyRef"] == {"name": "crossdock", "key": key}
            assert key in keys
    for reference in SCALERS["TriggerAuthentication/crossdock-rabbitmq"]["spec"]["secretTargetRef"]:
        assert reference["key"] in keys
    assert set(PLAIN["Secret/crossdock"]["stringData"].values()) == {""}


@pytest.mark.parametrize("name", PODS)
def test_each_gets_the_files_of_its_own_sections(name: str) -> None:
    kind = PODS[name]["metadata"]["labels"]["app.kubernetes.io/component"]
    secrets = {
        "crossdock-platforms": "accounts.apicbase.acme.secrets[0]",
        "crossdock-polls": "accounts.apicbase.acme.poll.client_secret",
        "crossdock-subscribers": "subscribers.boards.password",
        "crossdock-operators": "operators.anna.token",
    }
    mounted = {volume["secret"]["secretName"] for volume in pod(PODS[name])["volumes"] if "secret" in volume}
    assert mounted == {secret for secret, path in secrets.items() if kind in sections.readers(path)}
    assert mounted <= {manifest.removeprefix("Secret/") for manifest in PLAIN}
    has_mount = any(volume["name"] == "secrets" for volume in container(PODS[name])["volumeMounts"])
    assert has_mount == bool(mounted)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_probes_ports_and_time_to_stop_are_the_process_own(name: str) -> None:
    deployment, inside = DEPLOYMENTS[name], container(DEPLOYMENTS[name])
    ports = {port["name"]: port["containerPort"] for port in inside["ports"]}
    assert ports.pop("admin") == SETTINGS.admin.port
    expected = {f"crossdock-{kind}": getattr(SETTINGS, kind).port for kind in ("ingress", "api", "console")}
    assert ports == (
        {"http": expected[deployment["metadata"]["name"]]} if deployment["metadata"]["name"] in expected else {}
    )
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert inside[probe]["httpGet"] == {"path": path, "port": "admin"}
    hook = inside.get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
    needed = float(hook["exec"]["command"][1]) + SETTINGS.process.drain_timeout + CLOSE_TIMEOUT
    assert pod(deployment)["terminationGracePeriodSeconds"] > needed
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(SETTINGS.admin.port)


def test_the_admin_port_is_in_no_service() -> None:
    services = [manifest for manifest in PLAIN.values() if manifest["kind"] == "Service"]
    assert {port["targetPort"] for service in services for port in service["spec"]["ports"]} == {"http"}
    assert {service["metadata"]["name"] for service in services} == {
        "crossdock-ingress",
        "crossdock-api",
        "crossdock-console",
    }


@pytest.mark.parametrize("name", PODS)
def test_every_container_runs_unprivileged_on_a_read_only_file_system(name: str) -> None:
    manifest, inside = PODS[name], container(PODS[name])
    user = int(re.findall(r"^USER (\d+)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)[-1])
    assert pod(manifest)["securityContext"]["runAsUser"] == user
    assert pod(manifest)["securityContext"]["runAsNonRoot"] is True
    assert inside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(manifest)["automountServiceAccountToken"] is False
    assert inside["resources"]["requests"].keys() == {"cpu", "memory"}
    mounted = {volume["name"]: volume["mountPath"] for volume in inside["volumeMounts"]}
    assert f"CROSSDOCK_CONFIG={mounted['config']}/crossdock.toml" in (ROOT / "deploy/docker/Dockerfile").read_text()


def test_every_deployment_has_its_budget_and_its_service_finds_it() -> None:
    for deployment in DEPLOYMENTS.values():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        budget = PLAIN[f"PodDisruptionBudget/{deployment['metadata']['name']}"]["spec"]
        assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        service = PLAIN.get(f"Service/{deployment['metadata']['name']}")
        assert service is None or service["spec"]["selector"] == labels


def test_only_labelled_namespaces_reach_the_console() -> None:
    """Policies add up, so the one for all pods must not open the console's port."""
    policies = [manifest["spec"] for manifest in PLAIN.values() if manifest["kind"] == "NetworkPolicy"]
    rules = [rule for policy in policies for rule in policy["ingress"]]
    opening = [rule for rule in rules if "ports" not in rule or {"port": SETTINGS.console.port} in rule["ports"]]
    assert [rule["from"] for rule in opening] == [
        [{"namespaceSelector": {"matchLabels": {"crossdock.io/console": "true"}}}]
    ]
    assert not [manifest for manifest in PLAIN.values() if manifest["kind"] in ("Ingress", "HTTPRoute")]


async def test_scalers_look_at_queues_and_metrics_that_exist() -> None:
    known = await promql.exposed()
    queues = {queue.name for queue in topology.topology().queues}
    for scaler in SCALERS.values():
        if scaler["kind"] != "ScaledObject":
            continue
        assert f"Deployment/{scaler['spec']['scaleTargetRef']['name']}" in DEPLOYMENTS
        assert scaler["spec"]["pollingInterval"] >= depths.INTERVAL
        for trigger in scaler["spec"]["triggers"]:
            if trigger["type"] == "rabbitmq":
                assert trigger["metadata"]["queueName"] in queues
            else:
                assert promql.problems(trigger["metadata"]["query"], known) == []
    scaled = {
        scaler["spec"]["scaleTargetRef"]["name"] for scaler in SCALERS.values() if scaler["kind"] == "ScaledObject"
    }
    assert scaled == {"crossdock-store", "crossdock-route", "crossdock-deliver"}
