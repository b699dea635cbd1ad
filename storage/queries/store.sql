-- name: place_documents
-- Makes the documents that are new, as if the batch were all there is of them, and locks the others, in one order for
-- everyone, so that workers wait for each other and never in a circle. Returns what was there before.
INSERT INTO crossdock.documents AS d (
    platform, account, type, key, received_at, last_received_at, version_id, version, times_received, digest,
    order_number, order_ref, warehouse_ref, ship_from, ship_to
)
SELECT *
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::uuid[], $8::int[],
    $9::int[], $10::bytea[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]
)
ON CONFLICT (key, account, type, platform) DO UPDATE SET key = excluded.key
RETURNING d.id, d.platform, d.account, d.type, d.key, d.received_at, d.last_received_at, d.version_id, d.version,
          d.times_received, d.digest, d.xmax = 0 AS fresh

-- name: insert_receipts
-- Those that weren't there: the broker delivering a message twice changes nothing.
INSERT INTO crossdock.receipts (
    received_at, message_id, document_id, digest, event, flags, content_type, traceparent, raw
)
SELECT received_at, message_id, document_id, digest, event, string_to_array(flags, ','), content_type, traceparent, raw
FROM unnest(
    $1::timestamptz[], $2::uuid[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bytea[]
) AS r (received_at, message_id, document_id, digest, event, flags, content_type, traceparent, raw)
ON CONFLICT DO NOTHING
RETURNING message_id

-- name: insert_versions
INSERT INTO crossdock.versions (
    id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest,
    shipped_at, goods_received_at, flags, order_number, order_ref, warehouse_ref, carton, ship_from, ship_to,
    placed_at, lines, body
)
SELECT id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest,
       shipped_at, goods_received_at, string_to_array(flags, ','), order_number, order_ref, warehouse_ref, carton,
       ship_from, ship_to, placed_at, lines::jsonb, body::jsonb
FROM unnest(
    $1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::uuid[], $6::int[], $7::int[], $8::int[],
    $9::bytea[], $10::timestamptz[], $11::timestamp[], $12::text[], $13::text[], $14::text[], $15::text[],
    $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[]
) AS v (
    id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest,
    shipped_at, goods_received_at, flags, order_number, order_ref, warehouse_ref, carton, ship_from, ship_to,
    placed_at, lines, body
)

-- name: count_again
-- Repeats of the newest version: the commonest change, two numbers of a narrow row.
UPDATE crossdock.documents d
SET times_received = d.times_received + more.times, last_received_at = greatest(d.last_received_at, more.last)
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) AS more (id, times, last)
WHERE d.id = more.id

-- name: receipts_of
SELECT document_id, received_at, message_id, digest, flags
FROM crossdock.receipts
WHERE document_id = ANY ($1::bigint[])

-- name: versions_of
SELECT id, document_id, received_at, message_id, version
FROM crossdock.versions
WHERE document_id = ANY ($1::bigint[])

-- name: receipt_bodies
SELECT received_at, message_id, event, flags, content_type, traceparent, raw
FROM crossdock.receipts
WHERE (received_at, message_id) IN (SELECT * FROM unnest($1::timestamptz[], $2::uuid[]))

-- name: delete_versions
DELETE FROM crossdock.versions
WHERE (id, received_at) IN (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]))

-- name: renumber_versions
UPDATE crossdock.versions v
SET version = n.version, last_received_at = n.last, times_received = n.times, flags = string_to_array(n.flags, ',')
FROM unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::timestamptz[], $5::int[], $6::text[])
     AS n (id, received_at, version, last, times, flags)
WHERE v.id = n.id AND v.received_at = n.received_at

-- name: newest_versions
-- What the documents say of their newest version.
UPDATE crossdock.documents d
SET received_at = n.received_at, last_received_at = n.last, version_id = n.version_id, version = n.version,
    times_received = n.times, digest = v.digest, order_number = v.order_number, order_ref = v.order_ref,
    warehouse_ref = v.warehouse_ref, ship_from = v.ship_from, ship_to = v.ship_to
FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::int[], $6::int[])
     AS n (id, received_at, last, version_id, version, times)
JOIN crossdock.versions v ON v.id = n.version_id AND v.received_at = n.received_at
WHERE d.id = n.id

-- name: first_of
-- Versions that begin with one of these messages, and the ones after them.
SELECT v.id, v.document_id, v.version, v.received_at, v.message_id
FROM crossdock.versions v
JOIN crossdock.versions mine ON mine.document_id = v.document_id AND v.version IN (mine.version, mine.version + 1)
WHERE (mine.document_id, mine.message_id) IN (SELECT * FROM unnest($1::bigint[], $2::uuid[]))

-- name: quarantine
-- A message that fails again after a replay is back in quarantine, with the reason of today.
INSERT INTO crossdock.quarantined AS q (
    id, received_at, platform, account, event, reason, content_type, traceparent, raw
)
SELECT *
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[]
)
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, replayed_at = NULL
WHERE q.replayed_at IS NOT NULL

-- name: version_at
-- The version that a receipt counted towards.
SELECT id, version
FROM crossdock.versions
WHERE document_id = $1 AND (received_at, message_id) <= ($2, $3)
ORDER BY received_at DESC, message_id DESC
LIMIT 1

-- name: version_records
SELECT received_at, message_id, items, announced
FROM crossdock.allocation_records
WHERE document_id = $1 AND version_id = $2
ORDER BY received_at, message_id

-- name: insert_record
INSERT INTO crossdock.allocation_records (document_id, received_at, message_id, version_id, items, announced)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

-- name: newest_record
SELECT message_id
FROM crossdock.allocation_records
WHERE document_id = $1
ORDER BY received_at DESC, message_id DESC
LIMIT 1

-- name: clear_items
DELETE FROM crossdock.allocated_items WHERE document_id = $1

-- name: insert_items
INSERT INTO crossdock.allocated_items (
    document_id, allocated_at, order_product_id, manufacturer_id, rule, detail
)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[])
