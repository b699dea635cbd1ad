"""The AsyncAPI 3.0 document of the queues, generated from the topology, the platforms and their Structs.

Nothing that the topology or a platform already states is written down here a second time; no broker is contacted.
Begin with `document.document`; `tests/unit/test_asyncapi.py` compares its result with `docs/asyncapi.json`.
"""
