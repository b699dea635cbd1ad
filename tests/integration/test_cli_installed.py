"""What the image holds: the wheel with all its files, on the locked run-time dependencies and nothing else."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest

from bench.common import answers
from deploy.local.children import end, free_ports, spawn
from ingress.console.routes import ROUTES
from tests.support.console import Client
from tests.support.image import ROOT, copied
from tests.support.receiver import KEY

PACKAGES = ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy")
NOT_CODE = ("Dockerfile", ".sh")
TOKEN = "a-token-for-the-installed-console"
OTHER_ANSWERS = {"/console/login": 303, "/console/documents": 400}
"""One is logged in already; and a document is asked for by its key, which is missing here."""
OF_OPERATORS = ("docker", "grafana", "kubernetes", "prometheus")
"""Beside the code, and of no use to what runs."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from just what the Dockerfile copies, and unpacked."""
    folder = tmp_path_factory.mktemp("image")
    source, wheels, target = folder / "source", folder / "wheels", folder / "installed"
    source.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        elif name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    built = subprocess.run(
        [*pip, "--wheel-dir", str(wheels), "."], cwd=source, capture_output=True, text=True, timeout=55
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)
    return target


def test_every_file_of_ours_is_in_the_wheel(installed: Path) -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith(NOT_CODE):
                name = file.relative_to(ROOT)
                if name.parts[0] == "deploy" and name.parts[1] in OF_OPERATORS:
                    continue
                assert (installed / name).is_file(), f"{name}: add it to package-data in pyproject.toml"


def test_the_wheel_runs_on_the_run_time_dependencies_alone(installed: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        f"for name in {only_for_developers()!r}: sys.modules[name] = None\n"
        "import importlib, pathlib, schemas\n"
        f"assert schemas.__file__.startswith({str(installed)!r}), schemas.__file__\n"
        "for name in ('ingress.hooks.app', 'workers.store.worker', 'workers.route.worker', 'deploy.local.many'):\n"
        "    importlib.import_module(name)\n"
        "from ingress.console import app, render\n"
        "names = render.environment().list_templates()\n"
        "assert {'base.html', 'login.html', 'now.html'} <= set(names)\n"
        "for name in names: render.environment().get_template(name)\n"
        "assert all(asset.content for asset in render.assets().values())\n"
        "assert {'console.css', 'console.js'} <= render.assets().keys()\n"
        "from deploy.cli.main import main\n"
        "assert main(['check']) == 1\n"  # no servers; but configuration and rules are read
        "sys.exit(main(['topology', 'export']))\n"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=55
    )
    assert done.returncode == 0, done.stderr
    checked, _, exported = done.stdout.partition("{")
    assert checked.count(" ok") == 3
    assert "crossdock.store" in {queue["name"] for queue in json.loads("{" + exported)["queues"]}


async def test_the_console_of_the_wheel_serves_its_pages_and_assets(
    installed: Path, tmp_path: Path, database_url: str
) -> None:
    port, admin = free_ports(2)
    arguments = ["console", "--port", str(port), "--admin-port", str(admin)]
    script = (
        f"import sys\nfor name in {only_for_developers()!r}: sys.modules[name] = None\n"
        f"from deploy.cli.main import main\nsys.exit(main({arguments!r}))\n"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)}
    env |= {"DATABASE_URL": database_url, "CROSSDOCK_ENCRYPTION_KEY": KEY, "CROSSDOCK_CONSOLE_TOKEN": TOKEN}
    child = spawn([sys.executable, "-P", "-c", script], env=env, log=tmp_path / "console.log")
    try:
        await answers(f"http://127.0.0.1:{admin}/readyz", 200)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            client = Client(session, f"http://127.0.0.1:{port}")
            await client.log_in_with(TOKEN)
            assets: set[str] = set()
            for path in {route.path for route in ROUTES if route.method == "GET" and "{" not in route.path}:
                page = await client.get(path)
                assert page.status == OTHER_ANSWERS.get(path, 200), path
                assets.update(re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page.html))
            assert {name.rpartition("/")[2] for name in assets} >= {"console.css", "console.js", "htmx.min.js"}
            for path in assets:
                assert (await client.get(path)).status == 200, path
                missing = await client.get(path.replace(path.split("/")[3], "0" * 12))
                assert (missing.status, missing.headers["Content-Type"]) == (404, "text/plain; charset=utf-8"), path
    finally:
        await end(child, 15, 15)


def only_for_developers() -> list[str]:
    """Modules of what dev.txt locks and run.txt doesn't."""
    run, dev = (
        {
            name.lower()
            for name in re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / f"requirements/{file}.txt").read_text(), re.M)
        }
        for file in ("run", "dev")
    )
    assert "psutil" in dev - run
    return sorted(
        module
        for module, names in importlib.metadata.packages_distributions().items()
        if {name.lower().replace("_", "-") for name in names} <= dev - run
    )
