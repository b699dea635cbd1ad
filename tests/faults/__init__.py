"""What breaks the pipeline on purpose, under load, and counts what was lost: `make faults`."""
