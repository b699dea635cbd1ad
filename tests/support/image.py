"""What the image contains according to the Dockerfile."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()


def copied() -> list[str]:
    """Return the files and folders that are copied into the image."""
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [name for source in sources for name in source.split()]
