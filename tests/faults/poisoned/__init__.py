"""The folder that a poison fault puts on a worker's PYTHONPATH.

Python imports `sitecustomize` at its start, so that no code of the worker changes; nothing else belongs here.
Begin with `tests.faults.catalogue.poison`, which starts the workers.
"""
