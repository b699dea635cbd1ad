-- name: one
-- One stored version with the exact bytes that were received, unless they were erased.
SELECT v.id, v.version, v.received_at, d.platform, d.account, d.type, d.key, r.event, r.content_type, r.traceparent, r.raw,
       'erased' = ANY (v.flags) AS is_erased
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id
WHERE v.id = $1
