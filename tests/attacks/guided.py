"""Runs a reader under atheris, guided by coverage: `… tests.attacks.guided NAME N DIR`.

It is a process of its own because libFuzzer ends its process; the parent makes the folder for inputs. Exit code 0
when all inputs were read without a fault.
"""

import sys
from pathlib import Path

LONGEST = 4096
SLOWEST = 10
"""Maximum seconds for one input."""
MEGABYTES = 1024
"""Maximum memory; libFuzzer reports more as a leak."""


def main(name: str, runs: int, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["schemas", "broker", "deploy.config", "ingress", "workers", "storage"]):
        from tests.attacks import parsers

        target = parsers.by_name(name)
    for number, seed in enumerate(target.seeds):
        (folder / str(number)).write_bytes(seed)
    limits = [f"-runs={runs}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MEGABYTES}"]
    written = [f"-artifact_prefix={folder}/", "-verbosity=0", str(folder)]
    atheris.Setup([sys.argv[0], *limits, "-seed=1", *written], target.read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
