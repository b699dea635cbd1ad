"""The webhook ingress: verify a signature, publish the raw bytes, wait for the confirm, answer.

It never decodes a body and never imports `storage` or `ingress.api`, so that neither can stop it (import-linter).
Begin with `handler`, which has the two ways of a request, then `request.WebhookRequest`, from its body to its outcome.
"""
