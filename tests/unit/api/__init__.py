"""The API's parts that need no database.

Requests to a running API are tested in `tests.integration`.
Begin with `test_auth`: who may read and change what.
"""
