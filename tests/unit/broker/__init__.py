"""What RabbitMQ says, without RabbitMQ."""
