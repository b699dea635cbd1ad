"""How messages become rows and versions, without a database.

What is really written is tested in `tests.integration`.
Begin with `test_versions`: versions are a pure function of receipts.
"""
