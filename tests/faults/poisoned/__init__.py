"""What a poison fault puts on a worker's PYTHONPATH."""
