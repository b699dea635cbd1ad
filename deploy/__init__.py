"""How Crossdock runs: the command line, one process, everything on one machine, containers, monitoring.

Nothing imports this package; what it configures is in `schemas.config`.
Begin with `process.py`, then `cli/main.py` and `local/up.py`.
"""
