-- name: one
-- One stored version with the exact bytes that were received, unless they were erased.
SELECT v.id, v.version, v.received_at, d.platform, d.account, d.type, d.key, r.event, r.content_type, r.traceparent, r.raw,
       'erased' = ANY (v.flags) AS is_erased
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id
WHERE v.id = $1

-- name: share
-- A part of an order that was announced on its own: it is stored with its deliveries, and erased with them.
SELECT o.event_id AS id, o.version, o.received_at, d.platform, d.account, o.type, o.key, '' AS event,
       NULL AS content_type, NULL AS traceparent, o.payload AS raw, length(o.payload) = 0 AS is_erased
FROM (
    (SELECT event_id, version, received_at, document_id, type, key, payload FROM crossdock.outbox
     WHERE event_id = $1 AND payload IS NOT NULL LIMIT 1)
    UNION ALL
    (SELECT event_id, version, received_at, document_id, type, key, payload FROM crossdock.finished
     WHERE event_id = $1 AND payload IS NOT NULL LIMIT 1)
    LIMIT 1
) o
JOIN crossdock.documents d ON d.id = o.document_id

-- name: several
-- Like `one`, for several events: their ids $1, and the receipts $2 and $3 that began them.
SELECT v.id, v.version, v.received_at, d.platform, d.account, d.type, d.key, r.event, r.content_type, r.traceparent,
       r.raw, 'erased' = ANY (v.flags) AS is_erased
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS w (id, received_at, message_id)
JOIN crossdock.versions v ON v.id = w.id AND v.received_at = w.received_at
JOIN crossdock.documents d ON d.id = v.document_id
JOIN crossdock.receipts r ON r.received_at = w.received_at AND r.message_id = w.message_id
