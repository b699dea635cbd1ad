"""The platforms whose webhooks are accepted, one package each, found by `schemas.registry`.

Everything that is specific to a platform belongs in its package, except how it is answered (`workers.route`) and polled
(`workers.poll`), which are one module per platform each.
Begin with `channelape`, the simplest one; `schemas.platform.Platform` is what each of them exports.
"""
