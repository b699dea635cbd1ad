"""One trace from the request to the subscriber, through three real processes and a collector that speaks OTLP."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deploy.cli.main import main
from deploy.local.children import free_ports
from schemas import registry
from telemetry import otlp, traces
from tests.support import pipeline
from tests.support.receiver import KEY, Receiver, receiver, subscribe
from tests.support.shell import Shell

SAMPLED = 1
"""The bit of a trace context's flags (W3C)."""
TRACE, SENDER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONFIG = """
[telemetry]
otlp_endpoint = "{collector}"

[delivery]
allow_networks = ["127.0.0.0/8"]
allow_http = true

[subscribers.demo]
username = "demo"
password = "a-password"
accounts = ["*/*"]
"""


class Collector:
    """Takes spans as they are exported."""

    def __init__(self) -> None:
        self.url = ""
        self.raw = b""
        self.spans: list[tuple[str, Span]] = []
        """With the name of the service."""

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.raw += raw
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
            named = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(named["service.name"], span) for span in scope.spans]
        return web.Response()

    def of(self, trace: str) -> dict[str, Span]:
        """The spans of one trace, by service and first word of their name."""
        return {
            f"{service.removeprefix('crossdock-')}: {span.name.split()[0]}": span
            for service, span in self.spans
            if span.trace_id.hex() == trace
        }


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def subscriber() -> AsyncIterator[Receiver]:
    async with receiver() as subscriber:
        yield subscriber


@asynccontextmanager
async def processes(shell: Shell, *commands: tuple[str, ...]) -> AsyncIterator[None]:
    """Started, ready, and at the end told to stop: what waits is exported then."""
    ports = free_ports(len(commands))
    running = [
        await shell.start(*command, "--admin-port", str(port)) for command, port in zip(commands, ports, strict=True)
    ]
    try:
        async with aiohttp.ClientSession() as session:
            for port in ports:
                await pipeline.until(partial(_ready, session, port))
        yield
        for process in running:
            process.send_signal(signal.SIGTERM)
    finally:
        for process in running:
            try:
                async with asyncio.timeout(20):
                    await process.communicate()
            except TimeoutError:
                process.kill()


async def _ready(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_one_trace_from_the_request_to_the_subscriber(
    shell: Shell, collector: Collector, subscriber: Receiver, pool: asyncpg.Pool
) -> None:
    (shell.folder / "crossdock.toml").write_text(CONFIG.format(collector=collector.url))
    shell.env["CROSSDOCK_ENCRYPTION_KEY"] = KEY
    await subscribe(pool, subscriber.url, types=["channelape.*"])
    (port,) = free_ports(1)
    account = pipeline.config().accounts["channelape"]["rothys"]
    raw = registry.example("channelape", "receipt_confirmation")
    signed = registry.platforms()["channelape"].sign(raw, account)
    url = f"http://127.0.0.1:{port}/hooks/channelape/rothys/receipt-confirmations"
    commands = ("ingress", "--port", str(port)), ("worker", "store"), ("worker", "deliver")
    async with processes(shell, *commands), aiohttp.ClientSession() as session:
        traced = {**signed.headers, "traceparent": f"00-{TRACE}-{SENDER}-01"}
        async with session.post(url, data=raw, params=signed.query, headers=traced) as answer:
            assert answer.status == 200
        async with session.post(url, data=raw, headers=traced) as answer:
            assert answer.status == 401
        async with asyncio.timeout(20):
            await subscriber.arrived.wait()
    spans = collector.of(TRACE)
    assert spans.keys() == {"ingress: receive", "ingress: publish", "store: store", "deliver: deliver"}
    received, published = spans["ingress: receive"], spans["ingress: publish"]
    assert received.parent_span_id.hex() == SENDER
    assert published.parent_span_id == received.span_id
    for name in ("store: store", "deliver: deliver"):
        assert spans[name].parent_span_id == published.span_id
    assert received.kind == Span.SPAN_KIND_SERVER
    assert spans["deliver: deliver"].kind == Span.SPAN_KIND_CLIENT
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans.values())
    sent = subscriber.got[0].headers["traceparent"]
    assert sent == f"00-{TRACE}-{spans['deliver: deliver'].span_id.hex()}-01"
    batch = next(span for _, span in collector.spans if span.name == "store batch")
    assert [link.trace_id.hex() for link in batch.links] == [TRACE]
    # One that isn't authentic has no span, and nothing secret is in any.
    assert sum(span.name.startswith("receive") for _, span in collector.spans) == 1
    secrets = [*signed.query.values(), "a-password", KEY, "rothys/receipt-confirmations", subscriber.url]
    assert [secret for secret in secrets if secret.encode() in collector.raw] == []


async def test_a_sender_that_waits_has_its_answer_in_its_trace(
    amqp_url: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = pipeline.config({"telemetry": {"otlp_endpoint": collector.url}}).telemetry
    tracer = otlp.Tracer(settings, "test")
    monkeypatch.setattr(traces, "tracer", tracer)
    async with pipeline.door(amqp_url) as door, pipeline.running(pipeline.route(amqp_url)):
        assert (await door.post("ustore", "manufacturer_allocation"))[0] == 200
    await tracer.stop()
    (trace,) = {span.trace_id.hex() for _, span in collector.spans}
    assert collector.of(trace).keys() == {"test: receive", "test: publish", "test: answer"}
    assert collector.of(trace)["test: receive"].parent_span_id == b""


async def test_an_unavailable_collector_delays_no_request(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = pipeline.config({"telemetry": {"otlp_endpoint": "http://127.0.0.1:1"}}).telemetry
    tracer = otlp.Tracer(settings, "test")
    monkeypatch.setattr(traces, "tracer", tracer)
    async with pipeline.door(amqp_url) as door:
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
    async with asyncio.timeout(otlp.EXPORT_TIMEOUT + 2):
        await tracer.stop()


def test_an_unsampled_trace_is_marked_so_downstream() -> None:
    settings = pipeline.config({"telemetry": {"otlp_endpoint": "http://127.0.0.1:1", "sample": 0.0}}).telemetry
    tracer = otlp.Tracer(settings, "test")
    own = tracer.begin("x", "server", None, {})
    assert not int(own.traceparent[-2:], 16) & SAMPLED
    theirs = tracer.begin("x", "server", f"00-{TRACE}-{SENDER}-01", {})
    assert theirs.traceparent.startswith(f"00-{TRACE}-")
    assert int(theirs.traceparent[-2:], 16) & SAMPLED
    tracer._provider.shutdown()


def test_without_the_packages_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "crossdock.toml").write_text('[telemetry]\notlp_endpoint = "http://127.0.0.1:4318"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMQP_URL", "amqp://u:p@127.0.0.1:1/")
    monkeypatch.setattr(otlp, "NOT_INSTALLED", "opentelemetry")
    assert main(["worker", "route"]) == 1
    assert "pip install 'crossdock[otel]'" in capsys.readouterr().err


def test_tracing_that_is_off_imports_no_packages() -> None:
    modules = [*(f"workers.{kind}.worker" for kind in ("store", "route", "deliver", "poll")), "ingress.hooks.app"]
    script = f"import sys, deploy.process, {', '.join(modules)}; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "http://user:hush@collector:4318", "http://collector/?key=hush"]
)
def test_an_endpoint_is_a_plain_url(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"telemetry\.otlp_endpoint"):
        pipeline.config({"telemetry": {"otlp_endpoint": endpoint}})
