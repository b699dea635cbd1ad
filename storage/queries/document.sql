-- name: by_id
-- One document by its number, with the time when its transfer was due if that is late.
SELECT d.id, d.platform, d.account, d.type, d.key, d.order_number, d.order_ref, d.warehouse_ref, d.version, d.erased,
       d.received_at, d.last_received_at,
       EXISTS (SELECT FROM crossdock.erasures e
               WHERE e.finished_at IS NULL AND e.platform = d.platform AND e.account = d.account
                 AND (e.key = d.key OR e.order_number = d.order_number)) AS is_being_erased,
       CASE WHEN transfer.late THEN transfer.due_at END AS late_since
FROM crossdock.documents d
LEFT JOIN LATERAL (
    SELECT t.due_at, t.late FROM crossdock.transfers t
    WHERE t.channel_order_id = coalesce(d.order_ref, d.key) AND t.account = d.account
    LIMIT 1
) transfer ON d.platform = 'channelape'
WHERE d.id = $1

-- name: by_identity
-- The same, by platform, account, type and key.
SELECT d.id, d.platform, d.account, d.type, d.key, d.order_number, d.order_ref, d.warehouse_ref, d.version, d.erased,
       d.received_at, d.last_received_at,
       EXISTS (SELECT FROM crossdock.erasures e
               WHERE e.finished_at IS NULL AND e.platform = d.platform AND e.account = d.account
                 AND (e.key = d.key OR e.order_number = d.order_number)) AS is_being_erased,
       CASE WHEN transfer.late THEN transfer.due_at END AS late_since
FROM crossdock.documents d
LEFT JOIN LATERAL (
    SELECT t.due_at, t.late FROM crossdock.transfers t
    WHERE t.channel_order_id = coalesce(d.order_ref, d.key) AND t.account = d.account
    LIMIT 1
) transfer ON d.platform = 'channelape'
WHERE d.key = $4 AND d.account = $2 AND d.type = $3 AND d.platform = $1

-- name: history
-- The newest $2 receipts, versions and allocation records of the document $1, and those of its messages that could not be
-- processed at first, as four lists.
SELECT
    (SELECT coalesce(json_agg(row ORDER BY row.received_at, row.message_id), '[]')
     FROM (SELECT message_id, received_at, length(raw) AS bytes, flags FROM crossdock.receipts
           WHERE document_id = $1 ORDER BY received_at DESC, message_id DESC LIMIT $2) row) AS receipts,
    (SELECT coalesce(json_agg(row ORDER BY row.version), '[]')
     FROM (SELECT e.id, e.version, e.received_at, e.stored_at, e.times_received, e.last_received_at, e.flags,
                  e.message_id
           FROM (SELECT id, received_at FROM crossdock.versions
                 WHERE document_id = $1 ORDER BY received_at DESC LIMIT $2) v
           JOIN crossdock.events e ON e.id = v.id AND e.received_at = v.received_at) row) AS versions,
    (SELECT coalesce(json_agg(row ORDER BY row.received_at, row.message_id), '[]')
     FROM (SELECT received_at, message_id, version_id, items, announced FROM crossdock.allocation_records
           WHERE document_id = $1 ORDER BY received_at DESC, message_id DESC LIMIT $2) row) AS records,
    (SELECT coalesce(json_agg(row ORDER BY row.received_at, row.id), '[]')
     FROM (SELECT q.id, q.platform, q.account, q.event, q.reason, q.received_at, q.replayed_at, q.discarded_at
           FROM (SELECT message_id FROM crossdock.receipts
                 WHERE document_id = $1 ORDER BY received_at DESC, message_id DESC LIMIT $2) r
           JOIN crossdock.quarantined q ON q.id = r.message_id) row) AS quarantined

-- name: deliveries
-- The newest $2 deliveries of the document $1, the newest first, each with its newest $3 attempts, with the first $4 bytes
-- of each answer.
SELECT d.id, d.subscription_id, d.event_id, d.type, d.version, d.status, d.attempts AS times_attempted, d.created_at,
       d.next_attempt_at, d.finished_at, s.subscriber, split_part(s.url, '?', 1) AS url, s.dialect,
       coalesce(s.enabled, false) AS is_enabled, s.id IS NULL OR s.deleted_at IS NOT NULL AS is_deleted,
       s.disabled_reason, s.paused_until,
       (SELECT coalesce(json_agg(row ORDER BY row.at), '[]')
        FROM (SELECT at, attempt, outcome, status_code, duration_ms, error,
                     -- encode() breaks lines.
                     translate(encode(substr(response, 1, $4), 'base64'), E'\n', '') AS response
              FROM crossdock.attempts
              WHERE delivery_id = d.id ORDER BY at DESC LIMIT $3) row) AS attempts
FROM (SELECT * FROM crossdock.deliveries WHERE document_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2) d
LEFT JOIN crossdock.subscribed s ON s.id = d.subscription_id
ORDER BY d.created_at DESC, d.id DESC

-- name: lines
-- The lines of an order, with what is cancelled, at most $5.
SELECT line, article, name, quantity, cancelled, unit_price, total
FROM crossdock.orders
WHERE key = $4 AND account = $2 AND type = $3 AND platform = $1
LIMIT $5

-- name: related
-- Documents of the same order or transfer: by its key ($4), its order ($5), the warehouse's number ($6) and the number
-- that people use ($7), at most $8 by each; not the document $1 itself.
WITH related AS (
    (SELECT id FROM crossdock.documents WHERE key = $4 AND account = $3 AND platform = $2 LIMIT $8)
    UNION
    (SELECT id FROM crossdock.documents WHERE key = $5 AND account = $3 AND platform = $2 LIMIT $8)
    UNION
    (SELECT id FROM crossdock.documents WHERE order_ref = $5 AND account = $3 AND platform = $2
     ORDER BY id DESC LIMIT $8)
    UNION
    (SELECT id FROM crossdock.documents
     WHERE warehouse_ref = $6 AND account = $3 AND platform = $2
       AND (order_ref IS NULL OR type = 'channelape.stock_transfer_order')
     LIMIT $8)
    UNION
    (SELECT id FROM crossdock.documents WHERE order_number = $7 AND account = $3 AND platform = $2 LIMIT $8)
)
SELECT d.id, d.platform, d.account, d.type, d.key, d.version, d.received_at, d.last_received_at
FROM crossdock.documents d
WHERE d.id IN (SELECT id FROM related) AND d.id <> $1
ORDER BY d.received_at DESC, d.id DESC
LIMIT $8

-- name: contents
-- The bytes of the versions $2 of the document $1, each as it was first received; null above $3 bytes.
SELECT v.version, v.id, r.event, r.content_type, r.received_at, r.message_id, length(r.raw) AS size,
       CASE WHEN length(r.raw) <= $3 THEN r.raw END AS raw, 'erased' = ANY (v.flags) AS is_erased
FROM crossdock.versions v
JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id
WHERE v.document_id = $1 AND v.version = ANY ($2::int[])
ORDER BY v.version
LIMIT $4

-- name: quarantined
-- The newest messages in quarantine whose bytes contain a text: $1 in Unicode's form NFC, $2 as it was given. At most $3
-- messages are looked at, and at most $4 bytes.
SELECT id, platform, account, event, stage, reason, received_at, replayed_at, discarded_at
FROM (
    SELECT *, sum(length(raw)) OVER (ORDER BY received_at DESC, id DESC) AS bytes
    FROM (SELECT * FROM crossdock.quarantined ORDER BY received_at DESC, id DESC LIMIT $3) newest
) newest
WHERE bytes <= $4
  AND (position(convert_to($1, 'UTF8') IN raw) > 0 OR position(convert_to($2, 'UTF8') IN raw) > 0)
ORDER BY received_at DESC, id DESC
LIMIT 50
