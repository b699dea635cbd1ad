"""`make demo`: the whole pipeline, one signed example of every event, and where each arrived.

It uses the same commands and URLs as everybody else, and nothing that exists for the demo only.
Begin with `__main__.py`.
"""
