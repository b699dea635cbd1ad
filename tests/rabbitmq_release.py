"""RabbitMQ from another root folder, such as one that another release's packages were unpacked into.

    python -m tests.rabbitmq_release ROOT FOLDER
    CROSSDOCK_RABBITMQ_SERVER=FOLDER/rabbitmq-server make faults

The first writes `rabbitmq-server` and `rabbitmqctl` into FOLDER; both run the command of that name within ROOT. The
second runs anything that starts a node of its own (tests, faults, `crossdock up`) with that RabbitMQ. Linux only; it
takes root.
"""

import shlex
import sys
import tempfile
from pathlib import Path

COMMANDS = ("rabbitmq-server", "rabbitmqctl")
SHARED = ("/proc", "/dev", "/sys")
SCRIPT = """#!/bin/sh
# Written by tests/rabbitmq_release.py. The mounts are this process's own, and end with it.
exec unshare --mount --propagation private sh -c '
root=$1; command=$2; shift 2
mkdir -p "$root{temporary}"
mount --rbind {temporary} "$root{temporary}"
for shared in {shared}; do mount --rbind $shared "$root$shared"; done
exec chroot "$root" /usr/lib/rabbitmq/bin/"$command" "$@"
' sh {root} {command} "$@"
"""


def write(root: Path, folder: Path) -> None:
    """Write the commands. Nodes must keep their data below the folder for temporary files, which both roots share."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        script = folder / command
        script.write_text(
            SCRIPT.format(
                root=shlex.quote(str(root.resolve())),
                command=command,
                temporary=shlex.quote(str(Path(tempfile.gettempdir()).resolve())),
                shared=" ".join(SHARED),
            )
        )
        script.chmod(0o755)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
