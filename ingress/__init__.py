"""Everything that listens: `hooks` receives webhooks, `api` serves subscribers and operators.

Nothing here imports `workers`, and `hooks` never imports `storage`.
Begin with `hooks/app.py`; `connections.py` and `sockets.py` serve both.
"""
