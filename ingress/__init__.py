"""Every process that listens for others: the webhook ingress (`hooks`) and the API (`api`).

This level holds listening sockets and client connections, nothing about webhooks; `workers` is never imported.
Begin with `connections`, which bounds what a client may take of a process, then with one of the two packages.
"""
