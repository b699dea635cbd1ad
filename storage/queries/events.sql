-- name: one
-- One stored version with the exact bytes that were received, unless they were erased.
SELECT v.id, v.version, v.received_at, d.platform, d.account, d.type, d.key, r.event, r.content_type, r.traceparent, r.raw,
       'erased' = ANY (v.flags) AS is_erased
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id
WHERE v.id = $1

-- name: several
-- Like `one`, for several events: their ids $1, and the receipts $2 and $3 that began them.
SELECT v.id, v.version, v.received_at, d.platform, d.account, d.type, d.key, r.event, r.content_type, r.traceparent,
       r.raw, 'erased' = ANY (v.flags) AS is_erased
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS w (id, received_at, message_id)
JOIN crossdock.versions v ON v.id = w.id AND v.received_at = w.received_at
JOIN crossdock.documents d ON d.id = v.document_id
JOIN crossdock.receipts r ON r.received_at = w.received_at AND r.message_id = w.message_id
