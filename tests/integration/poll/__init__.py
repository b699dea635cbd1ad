"""The poll worker with real servers, against an Apicbase on loopback that behaves as documented, and one that does not.

Its client alone is tested in `tests.unit.poll`.
Begin with `test_orders`: what is found, and what is published of it.
"""
