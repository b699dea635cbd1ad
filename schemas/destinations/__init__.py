"""Where webhooks may go: URLs read strictly, addresses judged. Pure; connecting is `workers.deliver.attempt`'s."""
