"""One reader under atheris, which mutates towards code that no input has reached: `… tests.attacks.guided NAME N DIR`.

A process of its own: libFuzzer ends the process it runs in, so that the folder for inputs is its parent's. Exit code 0
when all inputs were read without a fault.
"""

import sys
from pathlib import Path

LONGEST = 4096
SLOWEST = 10
"""Seconds for one input."""
MEGABYTES = 1024
"""Of memory, beyond which libFuzzer calls it a leak."""


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
