"""The webhook server: verify the signature, publish the raw bytes, answer after the confirm.

It decodes no body and never imports `storage`, so that the database cannot stop it.
Begin with `app.py`, then `short.py` and `post.py`: one request from its bytes to its answer.
"""
