"""Public reports about other integrations, each as a test that names the report (`repo#number`)."""
