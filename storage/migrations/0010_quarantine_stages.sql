-- One place for what needs a person: where a message came to a halt, and how many tries of its own it had.

ALTER TABLE crossdock.quarantined
    -- unreadable: no worker can read it; refused: a rule refused it; failed: a worker failed on it again and again;
    -- unrouted: no queue took it.
    ADD COLUMN stage       text    NOT NULL DEFAULT 'unreadable',
    ADD COLUMN attempts    integer NOT NULL DEFAULT 0,
    ADD COLUMN routing_key text;  -- where it was to go, if it isn't what its platform, account and event say
UPDATE crossdock.quarantined SET stage = 'refused' WHERE reason LIKE 'refused: %';
UPDATE crossdock.quarantined SET stage = 'failed' WHERE reason LIKE 'the database refuses it: %';
-- What waits for a person is few beside what was dealt with.
CREATE INDEX quarantined_open ON crossdock.quarantined (stage, received_at, id)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;

CREATE OR REPLACE VIEW crossdock.quarantine AS
SELECT id, platform, account, event, reason, received_at, raw, replayed_at, discarded_at, stored_at, content_type,
       traceparent, stage, attempts
FROM crossdock.quarantined;
