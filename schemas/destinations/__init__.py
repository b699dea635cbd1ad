"""Where webhooks may go: strict reading of URLs, and rules for addresses.

Connecting belongs to `workers.deliver.attempt`, which applies these rules to the address it connects to.
Begin with `guard.py`.
"""
