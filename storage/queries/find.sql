-- name: plan
-- Plans are made once per connection, and never read a table from end to end: statistics would suggest that for a text that
-- is everywhere in the database.
SELECT set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)

-- name: by_name
-- Documents by what their own row says of the newest version, at most $2 by each: those that are not indexed yet, too.
(SELECT id, 'key' AS matched FROM crossdock.documents WHERE key = $1 LIMIT $2)
UNION ALL (SELECT id, 'number' FROM crossdock.documents WHERE order_number = $1 LIMIT $2)
UNION ALL (SELECT id, 'number' FROM crossdock.documents WHERE order_ref = $1 LIMIT $2)
UNION ALL (SELECT id, 'number' FROM crossdock.documents WHERE warehouse_ref = $1 AND order_ref IS NULL LIMIT $2)
UNION ALL (SELECT id, 'number' FROM crossdock.documents
           WHERE warehouse_ref = $1 AND type = 'channelape.stock_transfer_order' LIMIT $2)

-- name: documents
SELECT id, platform, account, type, key, order_number, version, times_received, received_at, last_received_at
FROM crossdock.documents
WHERE id = ANY ($1::bigint[])
ORDER BY received_at DESC, id DESC

-- name: events
SELECT v.id, d.platform, d.account, d.type, d.key, v.version, v.received_at, v.document_id
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
WHERE v.id = $1

-- name: messages
-- $2 and $3 limit when the message can have been received.
SELECT r.message_id AS id, d.platform, d.account, d.type, d.key, r.received_at, r.document_id
FROM crossdock.receipts r
JOIN crossdock.documents d ON d.id = r.document_id
WHERE r.message_id = $1 AND r.received_at BETWEEN $2 AND $3
LIMIT 1

-- name: deliveries
SELECT id, subscription_id, event_id, type, key, status, attempts, created_at, finished_at, document_id
FROM crossdock.deliveries
WHERE id = $1
ORDER BY finished_at DESC NULLS FIRST
LIMIT 1

-- name: subscriptions
-- Deleted ones too, as long as their deliveries are kept; no secrets.
SELECT id, subscriber, split_part(url, '?', 1) AS url, types, accounts, dialect, enabled, created_at, deleted_at
FROM crossdock.subscribed
WHERE id = $1

-- name: quarantine
SELECT id, platform, account, event, stage, reason, received_at, replayed_at, discarded_at
FROM crossdock.quarantined
WHERE id = $1
