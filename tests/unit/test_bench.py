"""The arithmetic of the benchmarks and what they print; and that their peers are programs."""

import asyncio
import py_compile
from pathlib import Path

import msgspec
import pytest

from bench import bodies, capacity, client, profile, report, stages
from bench.capacity import Costs
from bench.client import Order
from bench.parts import PARTS, chosen
from bench.profile import Spent
from bench.row import Row, Times, spread
from schemas import registry

ROOT = Path(__file__).parents[2]
PEERS = sorted((ROOT / "bench" / "peers").glob("*.py"))
COSTS = Costs(
    ingress=150.0,
    store=120.0,
    deliver=180.0,
    rabbitmq_in=60.0,
    rabbitmq_out=60.0,
    postgres_store=60.0,
    postgres_deliver=30.0,
    wal=5_000.0,
    queue_rate=20_000.0,
)


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    row = Row("a", "b", [1.0, 100.0, 4.0], [2.0, 2.0, 4.0], 0.5)
    assert row.ratios == [0.5, 50.0, 1.0]
    assert row.ratio == 1.0


def test_a_run_without_its_partner_makes_no_ratio() -> None:
    assert Row("a", "b", [1.0, 3.0], [2.0]).ratios == [0.5]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("a", "b", [2.0], [4.0], 0.5), "met"),
        (Row("a", "b", [1.0], [4.0], 0.5), "missed"),
        (Row("a", "b", [2.0], [4.0], 0.5, less=True), "met"),
        (Row("a", "b", [3.0], [4.0], 0.5, less=True), "missed"),
        (Row("a", "b", [3.0], [4.0]), ""),
        (Row("a", "b", [3.0], [], 0.5, failed="it did not start"), "failed"),
        (Row("a", "b", [], [], 0.5), "failed"),
    ],
)
def test_the_verdict_compares_the_figure_with_the_goal(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ([1000.0, 3000.0, 2000.0], 0, "2,000 (1,000–3,000)"),
        ([1.26], 1, "1.3"),
        ([], 0, ""),
    ],
)
def test_a_spread_is_the_median_the_lowest_and_the_highest(values: list[float], digits: int, text: str) -> None:
    assert spread(values, digits) == text


def test_the_table_shows_medians_spread_goal_and_verdict() -> None:
    text = report.markdown([Row("a", "b", [1000.0, 3000.0, 2000.0], [500.0, 500.0, 500.0], 4.0)])
    assert text.splitlines()[2] == "| a | b | 2,000 (1,000–3,000) | 500 (500–500) | 4.00 | ≥ 4.0 | met |"


def test_a_failed_peer_is_shown_in_the_table() -> None:
    text = report.markdown([Row("a", "b", [], [], 4.0, failed="ended with 1\ninstead | of starting")])
    assert text.splitlines()[2] == "| a | b |  | ended with 1 instead \\| of starting |  | ≥ 4.0 | failed |"


def test_a_failed_run_among_others_is_shown_beside_the_verdict() -> None:
    text = report.markdown([Row("a", "b", [4.0], [2.0], 1.0, note="theirs: 3 of 9 requests failed")])
    assert text.splitlines()[2].endswith("| 2.00 | ≥ 1.0 | met; theirs: 3 of 9 requests failed |")


def test_the_short_table_leaves_out_only_what_was_met() -> None:
    rows = [
        Row("ingress accepted/s, 64 connections", "bare", [8.0], [10.0], 0.7),
        Row("ingress accepted/s, 256 connections", "bare", [8.0], [10.0], 0.7),
        Row("ingress accepted/s, 5 kB, 256 connections", "bare", [5.0], [10.0], 0.7),
        Row("ingress accepted/s, 64 connections", "celery", [8.0], [10.0]),
        Row("stored", "copy", [], [], 0.3, failed="no answer"),
    ]
    assert report.headlines(rows).splitlines()[2:] == [
        "| ingress accepted/s, 64 connections | bare | 0.80 | ≥ 0.7 | met |",
        "| ingress accepted/s, 5 kB, 256 connections | bare | 0.50 | ≥ 0.7 | missed |",
        "| stored | copy |  | ≥ 0.3 | failed |",
    ]


def test_a_page_keeps_everything_but_what_stands_between_its_markers() -> None:
    page = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter <!-- other -->\n"
    expected = "before\n<!-- bench -->\nnew \\1\n<!-- /bench -->\nafter <!-- other -->\n"
    assert report.included(page, "bench", "\nnew \\1\n\n") == expected
    assert report.included(expected, "bench", "new \\1") == expected


@pytest.mark.parametrize("page", ["", "<!-- bench -->", "<!-- /bench --> <!-- bench -->"])
def test_a_page_without_markers_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="must occur in the page once"):
        report.included(page, "bench", "new")


@pytest.mark.parametrize(
    ("page", "marker"), [("README.md", "bench"), ("docs/performance.md", "bench"), ("bench/README.md", "figures")]
)
def test_our_pages_have_their_markers(page: str, marker: str) -> None:
    assert "new" in report.included((ROOT / page).read_text(), marker, "new")


def test_without_names_all_but_the_long_parts_run() -> None:
    names = [part.name for part in chosen([], long=False)]
    assert set(names).isdisjoint({"stored", "previous", "questions", "console", "memory", "scale", "profile"})
    long = ["stored", "previous", "questions", "console", "memory", "scale"]
    assert [part.name for part in chosen([], long=True)] == [*names, *long]
    assert [part.name for part in chosen(["memory", "store"], long=False)] == ["store", "memory"]
    assert len({part.name for part in PARTS}) == len(PARTS)


def test_an_unknown_part_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no part 'stroe'; there are ingress, .*, profile"):
        chosen(["stroe"], long=False)


def test_quantiles_are_of_all_times() -> None:
    assert Times.of([float(n) for n in range(1, 100)]) == Times(50.0, 99.0)


def test_processes_are_cores_with_headroom_and_at_least_one() -> None:
    assert capacity.cores(1_000, 600.0) == pytest.approx(1.0)
    assert capacity.processes(1_000, 600.0) == 1
    assert capacity.processes(1_001, 600.0) == 2
    assert capacity.processes(1, 1.0) == 1


def test_a_rate_needs_processes_queues_and_servers_in_proportion() -> None:
    need = capacity.need(10_000, COSTS)
    assert (need.ingress, need.store, need.deliver, need.shards) == (3, 2, 3, 1)
    assert [need.rabbitmq, need.postgres, need.wal] == pytest.approx([2.0, 1.5, 50.0])
    assert need.connections == 29
    assert need.first == "one quorum queue: a single Erlang process (83% of what is planned with)"


def test_the_bottleneck_follows_from_the_costs() -> None:
    slow = msgspec.structs.replace(COSTS, postgres_store=2_000.0)
    assert capacity.need(10_000, slow).first.startswith("PostgreSQL's CPU on 16 cores")


def test_steps_name_only_what_a_rate_needs() -> None:
    assert capacity.steps(capacity.need(1_000, COSTS)) == ["nothing: one process of each kind"]
    many = "; ".join(capacity.steps(capacity.need(100_000, COSTS)))
    assert "`[ingress] processes = 25`" in many
    assert "`[store] shards = 9`" in many
    assert "2 nodes' cores" in many
    assert "290 connections" in many
    assert "databases" not in many


def test_the_capacity_table_has_a_column_a_rate() -> None:
    lines = capacity.markdown(COSTS).splitlines()
    assert lines[0] == "| webhooks/s | 1,000 | 10,000 | 100,000 |"
    assert lines[2] == "| ingress processes | 1 | 3 | 25 |"


def test_the_page_has_every_stage_with_its_share() -> None:
    spent = Spent("store", 1_000, 100.0, 80.0, 60.0, {"decode": 30.0, "write": 60.0, stages.LOOP: 10.0})
    lines = profile.markdown([spent], COSTS, "1.1 kB").splitlines()
    assert "| store | 100 | 80 | 60 |" in lines
    assert "| store | write | 60.0 | 60% |" in lines
    assert "| store | ack | 0.0 | 0% |" in lines
    assert "| webhooks/s | 1,000 | 10,000 | 100,000 |" in lines


@pytest.mark.parametrize("kind", stages.RULES)
def test_every_stage_is_shown_and_every_folder_of_a_rule_is_there(kind: str) -> None:
    assert {name for _, _, name in stages.RULES[kind]} <= set(stages.ORDER[kind])
    foreign = ("/aiohttp/", "/aiormq/", "/asyncpg/", "/yarl/")
    for part, _, _ in stages.RULES[kind]:
        if not part.startswith(foreign):
            assert list(ROOT.glob(f"{part.strip('/')}*")), part


def test_a_function_belongs_to_the_first_rule_that_fits() -> None:
    rules = stages.RULES["store"]
    assert stages.stage(rules, "/x/broker/consumer.py", "ack") == "ack"
    assert stages.stage(rules, "/x/broker/consumer.py", "take") == "consume"
    assert stages.stage(rules, "/x/asyncio/tasks.py", "sleep") is None


def test_bodies_are_of_the_sizes_that_are_promised_and_can_be_read(tmp_path: Path) -> None:
    small, large = (bodies.webhook(tmp_path, size) for size in (bodies.SMALL, bodies.LARGE))
    assert (small.size, large.size) == ("1.1 kB", "5.0 kB")
    read = registry.platforms()[bodies.PLATFORM].read
    assert read(bodies.EVENT, small.raw).key == read(bodies.EVENT, large.raw).key
    assert read(bodies.EVENT, bodies.marked(small).raw).key != read(bodies.EVENT, small.raw).key


async def test_the_client_posts_every_body_under_a_key_of_its_own(tmp_path: Path) -> None:
    hook = bodies.marked(bodies.webhook(tmp_path))
    keys: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            raw = await reader.readexactly(length)
            keys.append(registry.platforms()[bodies.PLATFORM].read(bodies.EVENT, raw).key)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if len(keys) > 1 else _FAILED)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        order = Order(f"http://127.0.0.1:{port}{hook.path}", hook.headers, hook.raw.decode(), 3, 30, count=20)
        answer = await client.post(order)
    assert (answer.done, answer.failed) == (20, 1)
    assert len(set(keys)) == 20


_FAILED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@pytest.mark.parametrize("peer", PEERS, ids=lambda path: path.stem)
def test_every_peer_compiles(peer: Path, tmp_path: Path) -> None:
    assert py_compile.compile(str(peer), cfile=str(tmp_path / "x.pyc"), doraise=True)
