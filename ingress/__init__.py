"""Every process that listens: the webhook ingress (`hooks`), the API (`api`) and the console (`console`).

This level holds listening sockets and client connections, and knows nothing of webhooks; it never imports `workers`.
Begin with `connections`, which bounds what a client may use of a process, then with one of the packages.
"""
