"""The operator console (contract §9): pages made on the server, and actions that are recorded.

Nothing for subscribers is served here, because they reach the API and must not reach this process.
Begin with `routes`, the table of all pages and actions, then read `app`, which serves them.
"""
