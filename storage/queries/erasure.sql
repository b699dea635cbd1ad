-- `{table.personal}` and `{table.is_personal}` are filled in from storage/classification.toml (storage/privacy.py). The
-- unit of an erasure is the receipt: a version begins with one, and a delivery and an allocation record belong to one.
-- Receipts are given by $1: document ids, $2: times of receipt, $3: message ids.

-- name: start
INSERT INTO crossdock.erasures (id, platform, account, key, order_number, before) VALUES ($1, $2, $3, $4, $5, $6)

-- name: request
-- An erasure that the process which notes it does not carry out: a store worker takes it as soon as it looks.
INSERT INTO crossdock.erasures (id, platform, account, key, order_number, touched_at)
VALUES ($1, $2, $3, $4, $5, '-infinity')

-- name: start_round
-- An erasure by age that covers all accounts, unless one has begun after $4.
INSERT INTO crossdock.erasures (id, requested_at, before)
SELECT $1, $2, $3
WHERE NOT EXISTS (SELECT FROM crossdock.erasures WHERE platform IS NULL AND requested_at > $4)
RETURNING id

-- name: take
-- The erasure, locked until the transaction ends, so that two processes never work on one piece.
UPDATE crossdock.erasures SET touched_at = now() WHERE id = $1
RETURNING platform, account, key, order_number, before, after_document, after_at, after_id, finished_at

-- name: advance_document
UPDATE crossdock.erasures SET after_document = greatest(after_document, $2) WHERE id = $1

-- name: advance_receipt
UPDATE crossdock.erasures SET after_at = $2, after_id = $3
WHERE id = $1 AND (after_at IS NULL OR (after_at, after_id) < ($2, $3::uuid))

-- name: finish
UPDATE crossdock.erasures SET finished_at = coalesce(finished_at, now()) WHERE id = $1

-- name: next_document
-- The first document after $5 that a request selects, or one that the erasure $6 has begun and that others were merged
-- into since.
SELECT id
FROM (
    SELECT id
    FROM (
        SELECT id FROM crossdock.documents
        WHERE platform = $1 AND account = $2 AND (key = $3 OR order_number = $4)
        OFFSET 0  -- by the indexes of these, and not through all documents in the order of their ids
    ) requested
    WHERE id > $5
    UNION ALL
    SELECT d.id FROM crossdock.erasing e JOIN crossdock.documents d ON d.id = e.document_id WHERE e.erasure_id = $6
) selected
ORDER BY id
LIMIT 1

-- name: keys
-- The business keys of the documents that a request selects.
SELECT DISTINCT key FROM crossdock.documents
WHERE platform = $1 AND account = $2 AND (key = $3 OR order_number = $4)

-- name: is_unerased
SELECT EXISTS (SELECT FROM crossdock.receipts WHERE document_id = $1 AND NOT 'erased' = ANY (flags))
    OR EXISTS (SELECT FROM crossdock.erasing WHERE document_id = $1)

-- name: begin_document
-- Returns a row if this erasure begins with the document now.
INSERT INTO crossdock.erasing (document_id, erasure_id) VALUES ($1, $2)
ON CONFLICT DO NOTHING
RETURNING document_id

-- name: note_contents
-- What is stored of a document when its erasure begins; what is received later and says something else is not erased.
INSERT INTO crossdock.erased_contents (document_id, digest)
SELECT DISTINCT document_id, digest FROM crossdock.receipts WHERE document_id = $1
ON CONFLICT DO NOTHING

-- name: end_document
-- Ends the work of the erasure $2 on the document $1. Returns a row if it had not ended yet.
DELETE FROM crossdock.erasing WHERE document_id = $1 AND erasure_id = $2 RETURNING document_id

-- name: receipts_of_document
-- Receipts of the document $1 that are still to be erased, at most $2.
SELECT r.document_id, r.received_at, r.message_id
FROM crossdock.receipts r
WHERE r.document_id = $1 AND NOT 'erased' = ANY (r.flags)
  AND EXISTS (SELECT FROM crossdock.erased_contents e WHERE e.document_id = r.document_id AND e.digest = r.digest)
ORDER BY r.received_at, r.message_id
LIMIT $2

-- name: receipts_before
-- Receipts from before $3 that are still to be erased, after ($4, $5), of platform $1 and account $2 (null: all): at
-- most $6 among the next $7. Each row also says how many were examined and which was the last; if none is to be erased,
-- a single row says only that.
WITH examined AS MATERIALIZED (
    SELECT r.document_id, r.received_at, r.message_id, 'erased' = ANY (r.flags) AS is_erased
    FROM crossdock.receipts r
    WHERE r.received_at < $3 AND ($4::timestamptz IS NULL OR (r.received_at, r.message_id) > ($4, $5::uuid))
    ORDER BY r.received_at, r.message_id
    LIMIT $7
), last AS (
    SELECT received_at, message_id, (SELECT count(*) FROM examined) AS examined
    FROM examined
    ORDER BY received_at DESC, message_id DESC
    LIMIT 1
), matched AS (
    SELECT e.document_id, e.received_at, e.message_id
    FROM examined e
    WHERE NOT e.is_erased
      AND ($1::text IS NULL
           OR EXISTS (SELECT FROM crossdock.documents d
                      WHERE d.id = e.document_id AND d.platform = $1 AND d.account = $2))
    ORDER BY e.received_at, e.message_id
    LIMIT $6
)
SELECT last.received_at AS last_at, last.message_id AS last_id, last.examined, matched.*
FROM last
LEFT JOIN matched ON true
ORDER BY matched.received_at, matched.message_id

-- name: repeats_of
-- Receipts that repeat the versions which these receipts begin, and are still to be erased; at most $4.
SELECT r.document_id, r.received_at, r.message_id
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
JOIN crossdock.versions v USING (document_id, received_at, message_id)
JOIN crossdock.documents d ON d.id = v.document_id
JOIN crossdock.receipts r
    ON r.document_id = v.document_id AND r.digest = v.digest AND NOT 'erased' = ANY (r.flags)
    AND (r.received_at, r.message_id) > (v.received_at, v.message_id)
    AND r.received_at <= CASE WHEN d.version_id = v.id THEN d.last_received_at ELSE v.last_received_at END
LIMIT $4

-- name: lock_documents
-- In the order in which the store workers lock documents.
SELECT FROM crossdock.documents
WHERE id = ANY ($1::bigint[])
ORDER BY platform COLLATE "C", account COLLATE "C", type COLLATE "C", key COLLATE "C"
FOR UPDATE

-- name: erase_attempts
-- At most $4 attempts of deliveries of these receipts. Not those of events that announce an erasure.
UPDATE crossdock.attempts a
SET {attempts.personal}
FROM (
    SELECT delivery_id, at
    FROM (
        SELECT o.id
        FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
        JOIN crossdock.outbox o USING (document_id, received_at, message_id)
        WHERE o.type <> 'crossdock.erased'
        UNION ALL
        SELECT f.id
        FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
        JOIN crossdock.finished f USING (document_id, received_at, message_id)
        WHERE f.type <> 'crossdock.erased'
    ) deliveries
    JOIN crossdock.attempts ON delivery_id = id
    WHERE {attempts.is_personal}
    LIMIT $4
) chosen
WHERE a.delivery_id = chosen.delivery_id AND a.at = chosen.at

-- name: cancel_deliveries
-- Pending deliveries have nothing left to send: they are cancelled, and their last attempt says why.
WITH gone AS (
    DELETE FROM crossdock.outbox o
    USING unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
    WHERE o.document_id = k.document_id AND o.received_at = k.received_at AND o.message_id = k.message_id
      AND o.type <> 'crossdock.erased'
    RETURNING o.*
), reasons AS (
    INSERT INTO crossdock.attempts (delivery_id, at, attempt, duration_ms, outcome, error, response)
    SELECT id, clock_timestamp(), attempts + 1, 0, 'blocked', 'the content was erased', '' FROM gone
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version,
       attempts + 1, type, key, 'cancelled', payload
FROM gone
RETURNING id

-- name: erase_finished
UPDATE crossdock.finished f
SET {finished.personal}
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
WHERE f.document_id = k.document_id AND f.received_at = k.received_at AND f.message_id = k.message_id
  AND f.type <> 'crossdock.erased' AND {finished.is_personal}

-- name: erase_records
UPDATE crossdock.allocation_records r
SET {allocation_records.personal}
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
WHERE r.document_id = k.document_id AND r.received_at = k.received_at AND r.message_id = k.message_id
  AND {allocation_records.is_personal}

-- name: erase_items
-- Items that have been allocated as they are since one of these receipts or an earlier one.
UPDATE crossdock.allocated_items i
SET {allocated_items.personal}
FROM (
    SELECT document_id, max(received_at) AS received_at
    FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
    GROUP BY document_id
) k
WHERE i.document_id = k.document_id AND i.allocated_at <= k.received_at AND {allocated_items.is_personal}

-- name: erase_versions
-- The versions that begin with these receipts. A due date that is still only in the body is kept, because it is not
-- personal.
UPDATE crossdock.versions v
SET {versions.personal}, flags = flags || 'erased'::text,
    due_at = CASE WHEN due_at = '-infinity' THEN crossdock.due_at_of(v.id, v.received_at) ELSE due_at END
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
WHERE v.document_id = k.document_id AND v.received_at = k.received_at AND v.message_id = k.message_id
  AND NOT 'erased' = ANY (flags)
RETURNING v.document_id, v.id

-- name: erase_contents
-- Versions of a document with erased content that begin with no receipt which is still to be erased.
UPDATE crossdock.versions v
SET {versions.personal}, flags = array_remove(flags, 'erased') || 'erased'::text,
    due_at = CASE WHEN due_at = '-infinity' THEN crossdock.due_at_of(v.id, v.received_at) ELSE due_at END
FROM crossdock.erased_contents e
WHERE v.document_id = $1 AND e.document_id = v.document_id AND e.digest = v.digest
  AND (NOT 'erased' = ANY (flags) OR {versions.is_personal})
RETURNING v.document_id, v.id

-- name: erase_documents
-- The documents whose newest version is erased.
UPDATE crossdock.documents d
SET {documents.personal}, erased = true
WHERE d.id = ANY ($1::bigint[]) AND NOT d.erased
  AND EXISTS (SELECT FROM crossdock.versions v
              WHERE v.id = d.version_id AND v.received_at = d.received_at AND 'erased' = ANY (v.flags))

-- name: erase_transfers
-- What the view `transfers` keeps of documents whose newest version is erased.
UPDATE crossdock.transfer_states
SET {transfer_states.personal}
WHERE document_id IN (SELECT id FROM crossdock.documents WHERE id = ANY ($1::bigint[]) AND erased)
  AND {transfer_states.is_personal}

-- name: erase_receipts
UPDATE crossdock.receipts r
SET {receipts.personal}, flags = flags || 'erased'::text
FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) AS k (document_id, received_at, message_id)
WHERE r.document_id = k.document_id AND r.received_at = k.received_at AND r.message_id = k.message_id
  AND NOT 'erased' = ANY (flags)

-- name: erase_quarantined
-- A message that waits for a person is discarded, because nothing is left of it that could be replayed.
UPDATE crossdock.quarantined q
SET {quarantined.personal}, erased_at = now(), discarded_at = coalesce(discarded_at, now())
WHERE id = ANY ($1::uuid[]) AND erased_at IS NULL

-- name: quarantined_before
-- At most $4 messages from before $3 that are still to be erased, of platform $1 and account $2 (null: all).
SELECT id FROM crossdock.quarantined
WHERE received_at < $3 AND erased_at IS NULL AND ($1::text IS NULL OR (platform = $1 AND account = $2))
ORDER BY received_at, id
LIMIT $4

-- name: quarantined_of_account
-- The next $5 messages of an account that are not erased, after ($3, $4), with their bytes.
SELECT id, received_at, platform, event, content_type, stage, raw FROM crossdock.quarantined
WHERE platform = $1 AND account = $2 AND erased_at IS NULL
  AND ($3::timestamptz IS NULL OR (received_at, id) > ($3, $4::uuid))
ORDER BY received_at, id
LIMIT $5

-- name: stalled
-- Erasures that no process has worked on for $1 seconds, and those that finished $2 seconds ago, whose late rows are
-- still to be erased.
SELECT id, finished_at IS NOT NULL AS is_check
FROM crossdock.erasures
WHERE (finished_at IS NULL AND touched_at < now() - $1 * interval '1 second')
   OR (finished_at < now() - $2 * interval '1 second' AND checked_at IS NULL)
ORDER BY requested_at

-- name: checked
UPDATE crossdock.erasures SET checked_at = now() WHERE id = $1

-- name: late_receipts
-- Erased receipts whose deliveries are to be looked at once more: of the documents that a request selects.
SELECT r.document_id, r.received_at, r.message_id
FROM crossdock.documents d
JOIN crossdock.receipts r ON r.document_id = d.id
WHERE d.platform = $1 AND d.account = $2 AND (d.key = $3 OR d.order_number = $4) AND 'erased' = ANY (r.flags)

-- name: chosen_by_request
-- What a request would erase.
SELECT r.document_id, r.received_at, r.message_id
FROM crossdock.documents d
JOIN crossdock.receipts r ON r.document_id = d.id
WHERE d.platform = $1 AND d.account = $2 AND (d.key = $3 OR d.order_number = $4) AND NOT 'erased' = ANY (r.flags)

-- name: chosen_by_age
SELECT r.document_id, r.received_at, r.message_id
FROM crossdock.receipts r
JOIN crossdock.documents d ON d.id = r.document_id
WHERE d.platform = $1 AND d.account = $2 AND r.received_at < $3 AND NOT 'erased' = ANY (r.flags)

-- name: counts
-- The rows by table that would be erased, of the receipts that one of the two queries before selects.
WITH chosen AS MATERIALIZED ({chosen}), deliveries AS MATERIALIZED (
    SELECT id, true AS is_pending FROM chosen JOIN crossdock.outbox USING (document_id, received_at, message_id)
    WHERE type <> 'crossdock.erased'
    UNION ALL
    SELECT id, false FROM chosen JOIN crossdock.finished USING (document_id, received_at, message_id)
    WHERE type <> 'crossdock.erased'
)
SELECT (SELECT count(DISTINCT document_id) FROM chosen) AS documents,
       (SELECT count(*) FROM chosen) AS receipts,
       (SELECT count(*) FROM chosen JOIN crossdock.versions v USING (document_id, received_at, message_id)
        WHERE NOT 'erased' = ANY (v.flags)) AS versions,
       (SELECT count(*) FROM chosen JOIN crossdock.allocation_records USING (document_id, received_at, message_id)
        WHERE {allocation_records.is_personal}) AS allocation_records,
       (SELECT count(*) FROM deliveries WHERE is_pending) AS outbox,
       (SELECT count(*) FROM chosen JOIN crossdock.finished f USING (document_id, received_at, message_id)
        WHERE f.type <> 'crossdock.erased' AND {finished.is_personal}) AS finished,
       (SELECT count(*) FROM deliveries JOIN crossdock.attempts ON delivery_id = id
        WHERE {attempts.is_personal}) AS attempts

-- name: count_quarantined_before
SELECT count(*) FROM crossdock.quarantined
WHERE received_at < $3 AND erased_at IS NULL AND platform = $1 AND account = $2

-- name: selects
-- Whether a request selects any document, erased or not.
SELECT EXISTS (
    SELECT FROM crossdock.documents
    WHERE platform = $1 AND account = $2 AND (key = $3 OR order_number = $4))

-- name: sampled_tables
-- Tables of whose columns the planner keeps samples.
SELECT "table", columns FROM crossdock.sampled_columns()

-- name: erased_versions
-- The erased versions of a document.
SELECT document_id, id FROM crossdock.versions WHERE document_id = $1 AND 'erased' = ANY (flags)

-- name: documents
SELECT id, platform, account, type, key, version FROM crossdock.documents WHERE id = ANY ($1::bigint[])

-- name: insert_events
INSERT INTO crossdock.erased_events (id, document_id, version, platform, account, key, data)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[], $7::bytea[])

-- name: deliver_events
-- To every subscription that was sent the document, whatever types it selects: one delivery per event ($1). It belongs to
-- the receipt that the document's newest version begins with.
INSERT INTO crossdock.outbox (
    id, subscription_id, next_attempt_at, created_at, received_at, event_id, message_id, document_id, version, type,
    key, payload
)
SELECT gen_random_uuid(), s.id, now(), e.erased_at, v.received_at, e.id, v.message_id, e.document_id, e.version,
       'crossdock.erased', e.key, e.data
FROM crossdock.erased_events e
JOIN crossdock.documents d ON d.id = e.document_id
JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
CROSS JOIN LATERAL (
    SELECT DISTINCT f.subscription_id
    FROM crossdock.finished f
    WHERE f.document_id = e.document_id AND f.attempts > 0 AND f.type <> 'crossdock.erased'
) sent
JOIN crossdock.subscribed s ON s.id = sent.subscription_id AND s.deleted_at IS NULL
WHERE e.id = ANY ($1::uuid[])
RETURNING id

-- name: has_unpublished_events
SELECT EXISTS (SELECT FROM crossdock.erased_events)

-- name: unpublished_events
-- The $1 oldest events that no other process is publishing.
SELECT id, version, erased_at, platform, account, key, data
FROM crossdock.erased_events
ORDER BY erased_at, id
LIMIT $1
FOR UPDATE SKIP LOCKED

-- name: published_events
DELETE FROM crossdock.erased_events WHERE id = ANY ($1::uuid[])

-- name: forget_samples
-- Replaces the planner's statistics of a table's columns, which hold samples of the values.
SELECT crossdock.forget_samples($1, $2::text[])
