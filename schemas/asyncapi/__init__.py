"""What is on the queues, described for programs: AsyncAPI 3.0, made of what the code goes by. Pure."""
