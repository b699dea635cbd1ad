"""The AsyncAPI 3.0 document of the queues, generated from what the code declares.

It describes exchanges, queues, headers and messages, and never needs a broker.
Begin with `document.py`; `docs/asyncapi.json` is its output, held up to date by a test.
"""
