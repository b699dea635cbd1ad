"""Where webhooks may go: strict reading of subscribers' URLs, and the rules for IP addresses.

Nothing here resolves a name or opens a connection: `workers.deliver.attempt` does that, and applies these rules.
Begin with `guard.Guard`, then `urls` (how a URL is read) and `addresses` (which addresses are public).
"""
