-- The indexes that those of 0158 replace.

DROP INDEX crossdock.outbox_newest, crossdock.outbox_subscription, crossdock.outbox_key, crossdock.outbox_event;
DROP INDEX crossdock.finished_newest, crossdock.finished_subscription, crossdock.finished_key, crossdock.finished_event;

-- Deliveries of one transaction have times of their own, so that the newest are read from an index without sorting all of
-- a batch: there may be one per event and subscription.
ALTER TABLE crossdock.outbox ALTER COLUMN created_at SET DEFAULT clock_timestamp();
