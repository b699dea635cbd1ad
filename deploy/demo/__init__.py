"""`make demo`: the whole pipeline, one signed example of every event, and where each came out."""
