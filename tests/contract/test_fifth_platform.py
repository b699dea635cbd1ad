"""A platform is one folder: a fifth one is found, and holds to the contract, with no edit anywhere else."""

from schemas import registry, topology
from tests.contract import checks


def test_one_folder_is_all_it_takes(fifth: str) -> None:
    assert fifth in registry.platforms()
    cases = checks.cases(fifth)
    assert [str(case) for case in cases] == ["parcelbird-hand_over"]
    for case in cases:
        for check in checks.CHECKS:
            check(case)
        checks.well_formed(case.platform)
    queues = {queue.name for queue in topology.topology().queues}
    assert topology.reply_queue(fifth) in queues


def test_it_leaves_no_trace() -> None:
    assert "parcelbird" not in registry.platforms()
