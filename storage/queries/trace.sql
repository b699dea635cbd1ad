-- name: documents
-- Finds documents by business key, order number, transfer order, or the id of any of their messages or versions, with
-- one index look-up for each. $3 and $4 limit when the message can have been received.
SELECT d.id, d.platform, d.account, d.type, d.key
FROM (
    SELECT id FROM crossdock.documents WHERE key = $1
    UNION SELECT id FROM crossdock.documents WHERE order_number = $1
    UNION SELECT id FROM crossdock.documents WHERE order_ref = $1
    UNION SELECT id FROM crossdock.documents WHERE warehouse_ref = $1 AND order_ref IS NULL
    UNION SELECT id FROM crossdock.documents WHERE warehouse_ref = $1 AND type = 'channelape.stock_transfer_order'
    UNION SELECT document_id FROM crossdock.versions WHERE id = $2
    UNION SELECT document_id FROM crossdock.receipts WHERE message_id = $2 AND received_at BETWEEN $3 AND $4
) found
JOIN crossdock.documents d USING (id)
ORDER BY d.received_at, d.id
LIMIT 50

-- name: receipts
SELECT message_id, received_at, stored_at, event, flags, content_type, traceparent, length(raw) AS bytes
FROM crossdock.receipts
WHERE document_id = $1
ORDER BY received_at, message_id
LIMIT 500

-- name: versions
-- Two flags are added here. `moved`: a version that names another transfer than the one before takes its quantities
-- there. `not_ordered`: it has goods that no line of its transfer order names, as in `transfer_progress`.
SELECT e.id, e.version, e.received_at, e.stored_at, e.times_received, e.last_received_at,
       e.flags || CASE
           WHEN e.type <> 'channelape.stock_transfer_order'
            AND (v.order_ref <> lag(v.order_ref) OVER (ORDER BY e.version)
                 OR v.warehouse_ref <> lag(v.warehouse_ref) OVER (ORDER BY e.version))
           THEN '{moved}'::text[] ELSE '{}'::text[]
       END || CASE WHEN sto.has_strangers THEN '{not_ordered}'::text[] ELSE '{}'::text[] END AS flags,
       e.message_id, e.traceparent, v.lines
FROM crossdock.events e
JOIN crossdock.versions v ON v.id = e.id AND v.received_at = e.received_at
LEFT JOIN LATERAL (
    SELECT bool_or(goods.are_strangers) AS has_strangers
    FROM (
        SELECT d.version_id, d.received_at FROM crossdock.documents d
        WHERE d.key = v.order_ref AND d.account = e.account AND d.type = 'channelape.stock_transfer_order'
        UNION ALL
        SELECT d.version_id, d.received_at FROM crossdock.documents d
        WHERE d.warehouse_ref = v.warehouse_ref AND v.order_ref IS NULL AND d.account = e.account
          AND d.type = 'channelape.stock_transfer_order'
    ) d
    JOIN crossdock.versions ov ON ov.id = d.version_id AND ov.received_at = d.received_at
    CROSS JOIN LATERAL (
        WITH line AS MATERIALIZED (SELECT id, article FROM crossdock.lines(ov.lines))
        SELECT bool_or(NOT coalesce(l.article IN (SELECT article FROM line WHERE article IS NOT NULL), false)
                   AND NOT coalesce(l.id IS DISTINCT FROM l.article
                                    AND l.id IN (SELECT id FROM line WHERE id IS DISTINCT FROM article),
                                    false)) AS are_strangers
        FROM crossdock.lines(v.lines) l
        WHERE CASE WHEN e.type = 'channelape.receipt_confirmation' THEN l.received <> 0 OR l.damaged <> 0
                   ELSE l.quantity <> 0 END
    ) goods
) sto ON e.type IN ('channelape.ship_confirmation', 'channelape.advanced_ship_notice',
                    'channelape.receipt_confirmation')
WHERE v.document_id = $1
ORDER BY e.version
LIMIT 500

-- name: allocations
SELECT order_product_id, manufacturer_id, rule, detail, allocated_at
FROM crossdock.allocated_items
WHERE document_id = $1
ORDER BY order_product_id

-- name: records
-- announced: the manufacturers that were notified; null if the record came too late to notify any.
SELECT received_at, message_id, version_id, items, announced
FROM crossdock.allocation_records
WHERE document_id = $1
ORDER BY received_at, message_id
LIMIT 500

-- name: quarantine
-- By message id, or because the body contains the text: $1 in Unicode's form NFC, $3 as it was given.
SELECT id, platform, account, event, reason, received_at, replayed_at, discarded_at
FROM crossdock.quarantined
WHERE id = $2 OR position(convert_to($1, 'UTF8') IN raw) > 0
   OR ($3 <> $1 AND position(convert_to($3, 'UTF8') IN raw) > 0)
ORDER BY received_at, id
LIMIT 50

-- name: deliveries
-- The deliveries of a document with one row per attempt; a delivery without an attempt is still waiting for its first.
SELECT d.id, d.subscription_id, split_part(s.url, '?', 1) AS url, s.dialect, d.type, d.version, d.status, d.created_at,
       d.next_attempt_at, a.attempt, a.at, a.outcome, a.status_code, a.duration_ms, a.error
FROM crossdock.deliveries d
LEFT JOIN crossdock.subscribed s ON s.id = d.subscription_id
LEFT JOIN crossdock.attempts a ON a.delivery_id = d.id
WHERE d.document_id = $1
ORDER BY coalesce(a.at, d.created_at), a.attempt
LIMIT 500
