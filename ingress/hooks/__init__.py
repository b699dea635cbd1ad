"""The webhook ingress: verify a signature, publish the raw bytes, wait for the confirm, answer.

It never decodes a body and never imports `storage` or `ingress.api`, so that neither can stop it (import-linter).
Begin with `request.WebhookRequest`, one webhook from its body to its answer; `fast_path` and `handler` are the two
ways into it.
"""
