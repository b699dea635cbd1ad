"""Every process that listens: the webhook ingress (`hooks`) and the API (`api`).

This level holds listening sockets and client connections, and knows nothing of webhooks; it never imports `workers`.
Begin with `connections`, which bounds what a client may use of a process, then with one of the two packages.
"""
