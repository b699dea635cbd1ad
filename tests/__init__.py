"""The tests: what is promised to senders, consumers, subscribers and operators, and what must hold whatever breaks.

No test measures speed, which is the work of the benchmarks, and none needs the network.
Begin with `conftest` (real servers for every test) and `support.pipeline` (a whole Crossdock in the test's process).
"""
