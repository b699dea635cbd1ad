"""What every process needs to be observed: traces, exemplars, counters without locks, supervised tasks.

Metrics of one process kind belong to its own package.
Begin with `background.py`, which ends a process whose background task has died.
"""
