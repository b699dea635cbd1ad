-- Where a query takes columns, one array each, the alias of `unnest` names $1, $2 and so on in their order.
--
-- `ON CONFLICT ... DO UPDATE ... WHERE false` locks a row that exists and leaves it unchanged, without a new version of
-- the row. `DO NOTHING` would not lock it, so that another transaction could change it before this one commits.

-- ==== Cartons ====

-- name: claim_shipments
-- Creates the shipments that are new, and locks the others without changing them, in the given order. Returns those
-- that were created.
INSERT INTO crossdock.shipments AS s (platform, account, type, shipment, cartons)
SELECT platform, account, type, shipment, cartons::jsonb
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
     AS n (platform, account, type, shipment, cartons)
ON CONFLICT (shipment, account, type, platform) DO UPDATE SET cartons = s.cartons WHERE false
RETURNING platform, account, type, shipment

-- name: read_locked_shipments
-- The locked shipments as they are now, with their cartons.
SELECT s.platform, s.account, s.type, s.shipment, s.cartons::text AS cartons
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (platform, account, type, shipment)
JOIN crossdock.shipments s USING (shipment, account, type, platform)

-- name: update_shipments
-- Stores the new cartons of locked shipments.
UPDATE crossdock.shipments s
SET cartons = n.cartons::jsonb, changed_at = now()
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
     AS n (platform, account, type, shipment, cartons)
WHERE s.shipment = n.shipment AND s.account = n.account AND s.type = n.type AND s.platform = n.platform

-- name: documents_of_keys
-- Locks the documents of one shipment that have any of the keys $4, in the order of their keys. $1: platform. $2:
-- account. $3: type.
SELECT id, key, received_at
FROM crossdock.documents
WHERE platform = $1 AND account = $2 AND type = $3 AND key = ANY ($4::text[])
ORDER BY key
FOR UPDATE

-- name: merge_documents
-- Moves receipts, versions and deliveries of the documents $2 to the document $1, which gets the key $3.
SELECT crossdock.merge_documents($1, $2::bigint[], $3)

-- ==== Documents and their receipts ====

-- name: claim_documents
-- Creates the documents $1 that are new, as if the batch held everything about them, and locks the others without
-- changing them. The keys are sorted, so that workers wait for each other but never deadlock. Returns the created
-- documents with their version ids.
INSERT INTO crossdock.documents AS d (
    platform, account, type, key, received_at, last_received_at, version_id, version, times_received, digest,
    order_number, order_ref, warehouse_ref, ship_from, ship_to
)
SELECT *
FROM unnest($1::crossdock.new_document[])
ON CONFLICT (key, account, type, platform) DO UPDATE SET version = d.version WHERE false
RETURNING d.id, d.version_id

-- name: read_locked_documents
-- The locked documents as they are now, not as they were before the wait for the lock.
SELECT d.id, d.platform, d.account, d.type, d.key, d.received_at, d.last_received_at, d.version_id, d.version,
       d.times_received, d.digest,
       d.erased OR EXISTS (SELECT FROM crossdock.erased_contents e WHERE e.document_id = d.id) AS has_erased
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (platform, account, type, key)
JOIN crossdock.documents d USING (key, account, type, platform)

-- name: existing_receipts
-- Those of these messages that are stored already, because a message that the broker delivers twice must not change
-- anything. $3, $4: the first and the last received_at, so that partitions outside are not even planned for.
SELECT r.message_id
FROM unnest($1::timestamptz[], $2::uuid[]) AS m (received_at, message_id)
JOIN crossdock.receipts r USING (received_at, message_id)
WHERE r.received_at BETWEEN $3 AND $4

-- name: receipt_bodies
-- The receipts of these messages with their exact bytes.
SELECT r.received_at, r.message_id, r.event, r.flags, r.content_type, r.traceparent, r.raw
FROM unnest($1::timestamptz[], $2::uuid[]) AS k (received_at, message_id)
JOIN crossdock.receipts r USING (received_at, message_id)

-- name: add_repeats
-- Repeats of the newest version: only two numbers of a narrow row change.
UPDATE crossdock.documents d
SET times_received = repeated.times, last_received_at = repeated.last
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) AS repeated (id, times, last)
WHERE d.id = repeated.id

-- name: newest_versions
-- Copies a document's newest version into the document's own columns.
UPDATE crossdock.documents d
SET received_at = v.received_at, last_received_at = n.last, version_id = v.id, version = n.version,
    times_received = n.times, digest = v.digest, order_number = v.order_number, order_ref = v.order_ref,
    warehouse_ref = v.warehouse_ref, ship_from = v.ship_from, ship_to = v.ship_to, erased = 'erased' = ANY (v.flags)
FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::int[], $5::int[], $6::timestamptz[])
     AS n (id, version_id, received_at, version, times, last)
JOIN crossdock.versions v ON v.id = n.version_id AND v.received_at = n.received_at
WHERE d.id = n.id

-- name: delete_documents
-- Deletes the documents $1, which have nothing stored any more.
WITH contents AS (
    DELETE FROM crossdock.erased_contents WHERE document_id = ANY ($1::bigint[])
)
DELETE FROM crossdock.documents WHERE id = ANY ($1::bigint[])

-- ==== Versions ====

-- name: close_versions
-- The final counts of versions that are no longer the newest.
UPDATE crossdock.versions v
SET times_received = closed.times, last_received_at = closed.last
FROM unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::timestamptz[]) AS closed (id, received_at, times, last)
WHERE v.id = closed.id AND v.received_at = closed.received_at

-- name: occurrences
-- How many versions of the documents $1 have had each of the contents $2, as far as retention has kept them.
SELECT document_id, digest, max(occurrence) + 1 AS seen
FROM crossdock.versions
WHERE document_id = ANY ($1::bigint[]) AND digest = ANY ($2::bytea[])
GROUP BY document_id, digest

-- name: versions_at
-- For each message, the version that was the newest when the message was received; no row if it came before all of
-- them.
SELECT m.message_id AS for_message_id, v.id, v.document_id, v.received_at, v.message_id, v.version
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS m (document_id, received_at, message_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM crossdock.versions v
    WHERE v.document_id = m.document_id AND (v.received_at, v.message_id) <= (m.received_at, m.message_id)
    ORDER BY v.received_at DESC, v.message_id DESC
    LIMIT 1
) v

-- name: versions_from
-- The versions of each document from a time on, or all of them if the time is null.
SELECT v.id, v.document_id, v.received_at, v.message_id, v.version, v.occurrence, v.digest, v.times_received,
       v.last_received_at, v.flags
FROM unnest($1::bigint[], $2::timestamptz[]) AS since (document_id, at)
JOIN crossdock.versions v ON v.document_id = since.document_id AND v.received_at >= coalesce(since.at, '-infinity')

-- name: receipts_from
-- The receipts of each document from a time on, or all of them if the time is null.
SELECT r.document_id, r.received_at, r.message_id, r.digest, r.flags
FROM unnest($1::bigint[], $2::timestamptz[]) AS since (document_id, at)
JOIN crossdock.receipts r ON r.document_id = since.document_id AND r.received_at >= coalesce(since.at, '-infinity')

-- name: copy_versions
-- Creates versions with the content of another version of the same document. A body that is not stored is made from the
-- bytes of the version's first receipt; it is stored where the bytes of the new version are not JSON (they were
-- repaired).
INSERT INTO crossdock.versions (
    id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest,
    shipped_at, goods_received_at, due_at, flags, order_number, order_ref, warehouse_ref, carton, ship_from, ship_to,
    placed_at, lines, body, platform, account, type
)
SELECT c.id, v.document_id, c.received_at, c.last, c.message_id, c.version, c.times, c.occurrence, v.digest,
       v.shipped_at, v.goods_received_at, v.due_at, string_to_array(c.flags, ','), v.order_number, v.order_ref,
       v.warehouse_ref, v.carton, v.ship_from, v.ship_to, v.placed_at, v.lines,
       CASE WHEN v.body IS NOT NULL OR v.flags && '{not_json,not_jsonb,erased}' THEN v.body
            WHEN crossdock.body_of(r.raw) IS NULL
            THEN (SELECT crossdock.body_of(s.raw) FROM crossdock.receipts s
                  WHERE s.received_at = v.received_at AND s.message_id = v.message_id)
       END,
       v.platform, v.account, v.type
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::uuid[], $4::int[], $5::int[], $6::timestamptz[], $7::int[], $8::text[],
    $9::uuid[], $10::timestamptz[]
) AS c (id, received_at, message_id, version, times, last, occurrence, flags, source, source_received_at)
JOIN crossdock.versions v ON v.id = c.source AND v.received_at = c.source_received_at
LEFT JOIN crossdock.receipts r ON r.received_at = c.received_at AND r.message_id = c.message_id

-- name: move_versions
-- Gives versions another beginning, number and counts, and the flags that follow from them. The body is stored where
-- the bytes of the new beginning are not JSON, as in `copy_versions`.
UPDATE crossdock.versions v
SET received_at = m.received_at, message_id = m.message_id, version = m.version, times_received = m.times,
    last_received_at = m.last, flags = string_to_array(m.flags, ','),
    body = CASE WHEN v.body IS NOT NULL OR v.flags && '{not_json,not_jsonb,erased}' OR v.message_id = m.message_id
                THEN v.body
                WHEN (SELECT crossdock.body_of(r.raw) FROM crossdock.receipts r
                      WHERE r.received_at = m.received_at AND r.message_id = m.message_id) IS NULL
                THEN (SELECT crossdock.body_of(r.raw) FROM crossdock.receipts r
                      WHERE r.received_at = v.received_at AND r.message_id = v.message_id)
           END
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::int[], $6::int[], $7::timestamptz[], $8::text[]
) AS m (id, was_received_at, received_at, message_id, version, times, last, flags)
WHERE v.id = m.id AND v.received_at = m.was_received_at

-- name: delete_versions
-- Deletes versions that no longer begin with any receipt.
DELETE FROM crossdock.versions v
USING unnest($1::uuid[], $2::timestamptz[]) AS gone (id, received_at)
WHERE v.id = gone.id AND v.received_at = gone.received_at

-- name: versions_to_reannounce
-- The versions that these messages belong to, and the versions that their arrival split off from the one they fell
-- into. It is not enough to select the versions that begin with these messages: an earlier request that was stored in
-- the meantime may have become the beginning of a version. Erased versions are not announced any more.
SELECT DISTINCT v.id, v.document_id, v.version, v.received_at, v.message_id
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS m (document_id, received_at, message_id)
CROSS JOIN LATERAL (
    SELECT document_id, received_at, version
    FROM crossdock.versions v
    WHERE v.document_id = m.document_id AND (v.received_at, v.message_id) <= (m.received_at, m.message_id)
    ORDER BY v.received_at DESC, v.message_id DESC
    LIMIT 1
) mine
JOIN crossdock.versions v
    ON v.document_id = mine.document_id AND v.received_at >= mine.received_at
    AND (v.version = mine.version OR (v.version = mine.version + 1 AND v.occurrence > 0))
    AND NOT 'erased' = ANY (v.flags)

-- ==== Erasure ====

-- name: erased_contents
-- The contents of the documents $1 that stay erased when they are received again.
SELECT document_id, digest FROM crossdock.erased_contents WHERE document_id = ANY ($1::bigint[])
UNION
SELECT id, digest FROM crossdock.documents WHERE id = ANY ($1::bigint[]) AND erased

-- name: move_erased_contents
-- Documents that are merged into $1 take with them which of their contents were erased or are being erased. $2:
-- documents.
WITH moved AS (
    DELETE FROM crossdock.erased_contents WHERE document_id = ANY ($2::bigint[]) RETURNING digest
), ended AS (
    DELETE FROM crossdock.erasing WHERE document_id = ANY ($2::bigint[]) RETURNING erasure_id
), begun AS (
    INSERT INTO crossdock.erasing (document_id, erasure_id)
    SELECT DISTINCT $1::bigint, erasure_id FROM ended
    ON CONFLICT DO NOTHING
)
INSERT INTO crossdock.erased_contents (document_id, digest)
SELECT DISTINCT $1::bigint, digest FROM moved
ON CONFLICT DO NOTHING

-- ==== Quarantine ====

-- name: quarantine
-- A message that fails again after a replay returns to quarantine with its newest reason, unless it was erased.
INSERT INTO crossdock.quarantined AS q (
    id, received_at, platform, account, event, reason, content_type, traceparent, raw, stage, attempts, routing_key
)
SELECT *
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[],
    $10::text[], $11::int[], $12::text[]
)
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, stage = excluded.stage, attempts = excluded.attempts,
    replayed_at = NULL, discarded_at = CASE WHEN q.discarded_at > q.replayed_at THEN q.discarded_at END
WHERE q.replayed_at IS NOT NULL AND q.erased_at IS NULL

-- ==== Allocations ====

-- name: newest_records
-- The newest allocation record of each of the orders $1.
SELECT r.document_id, r.received_at, r.message_id, r.version_id, r.items, r.announced
FROM unnest($1::bigint[]) AS k (document_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM crossdock.allocation_records r
    WHERE r.document_id = k.document_id
    ORDER BY r.received_at DESC, r.message_id DESC
    LIMIT 1
) r

-- name: records_of
-- All allocation records of the orders $1, the oldest first.
SELECT document_id, received_at, message_id, version_id, items, announced
FROM crossdock.allocation_records
WHERE document_id = ANY ($1::bigint[])
ORDER BY document_id, received_at, message_id

-- name: insert_records
-- Inserts allocation records.
INSERT INTO crossdock.allocation_records (document_id, received_at, message_id, version_id, items, announced)
SELECT document_id, received_at, message_id, version_id, items::jsonb, announced::jsonb
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::text[], $6::text[])
     AS r (document_id, received_at, message_id, version_id, items, announced)

-- name: clear_items
-- Deletes the allocated items of the orders $1, before the new ones are inserted.
DELETE FROM crossdock.allocated_items WHERE document_id = ANY ($1::bigint[])

-- name: insert_items
-- Inserts allocated items. $1 to $6: the columns, in the order of the list below.
INSERT INTO crossdock.allocated_items (
    document_id, allocated_at, order_product_id, manufacturer_id, rule, detail
)
SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[])
