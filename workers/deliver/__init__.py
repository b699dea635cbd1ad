"""Outbound webhooks: what is due is posted to its subscriber, carefully, and every attempt is recorded."""
