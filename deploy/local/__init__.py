"""`crossdock up`: private PostgreSQL and RabbitMQ servers and our processes, on one machine.

Containers need only `many`, where `[ingress] processes` is above 1. A foreign server or process is never touched.
Begin with `up.Up`; `children` starts and ends processes, `supervisor` keeps ours running.
"""
