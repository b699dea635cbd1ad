-- What people ask for most (docs/questions.md): the newest, and what belongs to a status, a subscription, a key or an
-- event. Each index here was measured at the store and the deliver worker; hash indexes hold texts of any length in 20
-- bytes per row.

CREATE INDEX CONCURRENTLY versions_newest ON crossdock.versions (received_at);

CREATE INDEX CONCURRENTLY outbox_newest ON crossdock.outbox (created_at, id);
CREATE INDEX CONCURRENTLY outbox_subscription ON crossdock.outbox (subscription_id, created_at, id);
CREATE INDEX CONCURRENTLY outbox_key ON crossdock.outbox USING hash (key);
CREATE INDEX CONCURRENTLY outbox_event ON crossdock.outbox USING hash (event_id);

CREATE INDEX CONCURRENTLY finished_newest ON crossdock.finished (created_at, id);
-- Nearly all others are delivered, and found by finished_newest.
CREATE INDEX CONCURRENTLY finished_status ON crossdock.finished (status, created_at, id) WHERE status <> 'delivered';
CREATE INDEX CONCURRENTLY finished_key ON crossdock.finished USING hash (key);
CREATE INDEX CONCURRENTLY finished_event ON crossdock.finished USING hash (event_id);

-- Few messages come here, so that their indexes cost little.
CREATE INDEX CONCURRENTLY quarantined_stage ON crossdock.quarantined (stage, received_at, id);
CREATE INDEX CONCURRENTLY quarantined_account ON crossdock.quarantined (account, received_at, id);
CREATE INDEX CONCURRENTLY quarantined_open_account ON crossdock.quarantined (account, received_at, id)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;
-- A reason has up to 2,000 characters, more than an index takes.
CREATE INDEX CONCURRENTLY quarantined_reason ON crossdock.quarantined (left(reason, 200), received_at, id);
CREATE INDEX CONCURRENTLY quarantined_open_reason ON crossdock.quarantined (left(reason, 200), received_at, id)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;
