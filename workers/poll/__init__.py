"""Orders of customers who can't post webhooks: asked for, and put on the queue as if they had been posted."""
