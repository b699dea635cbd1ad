"""A few thousand inputs for all readers and processes; `python -m tests.attacks --inputs 1000000` sends a million."""

from pathlib import Path

import pytest

from tests.attacks import parsers, suite

TARGETS = list(parsers.targets())


@pytest.mark.busy_thread
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_readers(target: parsers.Target) -> None:
    suite.parse(target, 150)


@pytest.mark.busy_thread
@pytest.mark.skipif(not suite.guided(), reason="atheris has no wheel for this Python")
def test_readers_under_coverage_guided_fuzzing() -> None:
    suite.parse_guided(parsers.by_name("message properties"), 3_000, 60)


@pytest.mark.parametrize(
    "fault", [ValueError("at fault"), RecursionError(), UnicodeDecodeError("utf-8", b"", 0, 1, "")]
)
def test_a_faulty_reader_fails_the_attack(fault: Exception) -> None:
    def read(data: bytes) -> None:
        if b"\xff" in data:
            raise fault

    with pytest.raises(AssertionError, match="one at fault"):
        suite.parse(parsers.Target("one at fault", [b"seed"], read), 2_000)


async def test_the_ingress(tmp_path: Path, amqp_url: str) -> None:
    done = await suite.attack_ingress(tmp_path, amqp_url, 1_200)
    assert "200: " in done.note
    assert "400: " in done.note


async def test_the_api(tmp_path: Path, database_url: str) -> None:
    done = await suite.attack_api(tmp_path, database_url, 800)
    assert "201: " in done.note or "200: " in done.note
