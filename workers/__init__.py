"""The processes behind the queue: `store`, `route`, `deliver` and `poll`, and the `runtime` that they share.

A worker never imports another worker or `ingress`; messages of the queue and rows are all that connects them.
Begin with `store.worker`, through which every message passes.
"""
