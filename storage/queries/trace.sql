-- name: documents
-- By business key, order number, transfer order, or the id of any message or version of it.
SELECT d.id, d.platform, d.account, d.type, d.key
FROM crossdock.documents d
WHERE d.key = $1 OR d.order_number = $1 OR d.order_ref = $1 OR (d.warehouse_ref = $1 AND d.order_ref IS NULL)
   OR d.id IN (SELECT document_id FROM crossdock.versions WHERE id = $2)
   OR d.id IN (SELECT document_id FROM crossdock.receipts WHERE message_id = $2)
ORDER BY d.received_at
LIMIT 50

-- name: receipts
SELECT message_id, received_at, stored_at, event, traceparent, length(raw) AS bytes
FROM crossdock.receipts
WHERE document_id = $1
ORDER BY received_at, message_id
LIMIT 500

-- name: versions
SELECT e.id, e.version, e.received_at, e.stored_at, e.times_received, e.last_received_at, e.flags
FROM crossdock.events e
JOIN crossdock.versions v ON v.id = e.id AND v.received_at = e.received_at
WHERE v.document_id = $1
ORDER BY e.version

-- name: allocations
SELECT order_product_id, manufacturer_id, rule, detail, allocated_at
FROM crossdock.allocated_items
WHERE document_id = $1
ORDER BY order_product_id

-- name: records
SELECT received_at, message_id, version_id, announced
FROM crossdock.allocation_records
WHERE document_id = $1
ORDER BY received_at, message_id

-- name: quarantine
SELECT id, platform, account, event, reason, received_at, replayed_at, discarded_at
FROM crossdock.quarantined
WHERE id = $1
