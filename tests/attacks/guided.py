"""One reader under atheris, which mutates towards code that no input has reached: `… -m tests.attacks.guided NAME N`.

A process of its own: libFuzzer ends the process it runs in. Exit code 0 when all inputs were read without a fault.
"""

import sys
import tempfile
from pathlib import Path

LONGEST = 4096
SLOWEST = 10
"""Seconds for one input."""
MEGABYTES = 1024
"""Of memory, beyond which libFuzzer calls it a leak."""


def main(name: str, runs: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["schemas", "broker", "deploy.config", "ingress", "workers", "storage"]):
        from tests.attacks import parsers

        target = parsers.by_name(name)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        limits = [f"-runs={runs}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MEGABYTES}"]
        kept = [f"-artifact_prefix={tempfile.gettempdir()}/"]
        atheris.Setup([sys.argv[0], *limits, *kept, "-seed=1", "-verbosity=0", folder], target.read)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
