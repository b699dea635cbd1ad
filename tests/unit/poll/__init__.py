"""The poll worker's parts: the client of Apicbase's API, and what polling understands of an order.

Whole rounds with a database are tested in `tests.integration.poll`.
Begin with `test_client`.
"""
