-- name: sources
-- Every platform, account and type with stored documents. The query jumps from one account and type to the next through
-- the index, so its cost does not depend on the number of documents. A type belongs to one platform.
WITH RECURSIVE source AS (
    (
        SELECT platform, account, type FROM crossdock.documents
        ORDER BY account, type
        LIMIT 1
    )
    UNION ALL
    SELECT following.*
    FROM source
    CROSS JOIN LATERAL (
        SELECT d.platform, d.account, d.type
        FROM crossdock.documents d
        WHERE (d.account, d.type) > (source.account, source.type)
        ORDER BY d.account, d.type
        LIMIT 1
    ) following
)
SELECT platform, account, type FROM source ORDER BY platform, account, type

-- name: count_documents
-- The number of documents of the sources ($1, $2, $3), counted up to $4. They are read in the order of the index:
-- without an order PostgreSQL may scan the table from its start, which is fast for a source with many documents and
-- endless for one with few. The platform is not compared, because the index lacks it and the type belongs to one platform.
SELECT count(*)
FROM (
    SELECT
    FROM unnest($1::text[], $2::text[], $3::text[]) AS s (platform, account, type)
    CROSS JOIN LATERAL (
        SELECT FROM crossdock.documents d
        WHERE d.account = s.account AND d.type = s.type
        ORDER BY d.id
        LIMIT $4
    ) d
    LIMIT $4
) found

-- name: count_of_key
-- The number of events of key $7 from the sources ($1, $2, $3) that were received from $4 up to $5 (exclusive), counted
-- up to $6.
SELECT count(*)
FROM (
    SELECT
    FROM crossdock.documents d
    JOIN unnest($1::text[], $2::text[], $3::text[]) AS s (platform, account, type) USING (platform, account, type)
    CROSS JOIN LATERAL (
        SELECT FROM crossdock.versions v
        WHERE v.document_id = d.id AND v.received_at >= $4 AND v.received_at < $5 AND NOT 'erased' = ANY (v.flags)
        OFFSET 0
    ) v
    WHERE d.key = $7
    LIMIT $6
) found

-- name: count_by_document
-- Like `count_of_key`, but for all keys and for sources with few documents.
SELECT count(*)
FROM (
    SELECT
    FROM unnest($1::text[], $2::text[], $3::text[]) AS s (platform, account, type)
    CROSS JOIN LATERAL (
        SELECT d.id FROM crossdock.documents d
        WHERE d.platform = s.platform AND d.account = s.account AND d.type = s.type
        OFFSET 0
    ) d
    CROSS JOIN LATERAL (
        SELECT FROM crossdock.versions v
        WHERE v.document_id = d.id AND v.received_at >= $4 AND v.received_at < $5 AND NOT 'erased' = ANY (v.flags)
        OFFSET 0
    ) v
    LIMIT $6
) found

-- name: count_by_time
-- Like `count_by_document`, but for sources with many documents: it examines the first $7 receipts of the period, and
-- returns how many it examined and how many matched.
WITH examined AS MATERIALIZED (
    SELECT r.received_at, r.message_id, r.document_id
    FROM crossdock.receipts r
    WHERE r.received_at >= $4 AND r.received_at < $5
    ORDER BY r.received_at, r.message_id
    LIMIT $7
)
SELECT (SELECT count(*) FROM examined) AS examined, count(*) AS found
FROM (
    SELECT
    FROM examined e
    CROSS JOIN LATERAL (
        SELECT d.platform, d.account, d.type FROM crossdock.documents d WHERE d.id = e.document_id OFFSET 0
    ) d
    JOIN unnest($1::text[], $2::text[], $3::text[]) AS s (platform, account, type) USING (platform, account, type)
    CROSS JOIN LATERAL (
        SELECT FROM crossdock.versions v
        WHERE v.document_id = e.document_id AND v.received_at = e.received_at AND v.message_id = e.message_id
          AND NOT 'erased' = ANY (v.flags)
        OFFSET 0
    ) v
    LIMIT $6
) found

-- name: count_open
-- The number of a subscriber's replays that are not yet completely written.
SELECT count(*)
FROM crossdock.replays r
JOIN crossdock.subscribed s ON s.id = r.subscription_id
WHERE r.finished_at IS NULL AND s.deleted_at IS NULL AND s.subscriber = $1

-- name: create
INSERT INTO crossdock.replays (id, subscription_id, from_at, to_at, types, key, count)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING

-- name: open
-- Replays that are not yet completely written and have fewer than $1 pending deliveries.
SELECT r.id
FROM crossdock.replays r
WHERE r.finished_at IS NULL AND (SELECT count(*) FROM crossdock.outbox o WHERE o.replay_id = r.id) < $1
ORDER BY r.created_at
LIMIT 100

-- name: take
SELECT r.subscription_id, r.from_at, r.to_at, r.types, r.key, r.after_at, r.after_id, s.accounts,
       s.subscriber, s.dialect, s.filter
FROM crossdock.replays r
JOIN crossdock.subscribed s ON s.id = r.subscription_id
WHERE r.id = $1 AND r.finished_at IS NULL AND s.deleted_at IS NULL
FOR UPDATE OF r SKIP LOCKED

-- name: piece
-- The next events of the sources ($1, $2, $3), in the order in which they were received, by the primary key of
-- receipts. They were received from $4 up to $5 (exclusive) and come after ($6, $7). $8: their key, null for all. At
-- most $9 events among the next $10 receipts are returned. Each row also says how many receipts were examined and which
-- was the last one; if no event matches, a single row says only that.
WITH examined AS MATERIALIZED (
    SELECT r.received_at, r.message_id, r.document_id
    FROM crossdock.receipts r
    WHERE r.received_at >= $4 AND r.received_at < $5
      AND ($6::timestamptz IS NULL OR (r.received_at, r.message_id) > ($6, $7::uuid))
    ORDER BY r.received_at, r.message_id
    LIMIT $10
), last AS (
    SELECT received_at, message_id, (SELECT count(*) FROM examined) AS examined
    FROM examined
    ORDER BY received_at DESC, message_id DESC
    LIMIT 1
), matched AS (
    SELECT v.id, e.received_at, e.message_id, e.document_id, v.version, d.type, d.key
    FROM examined e
    CROSS JOIN LATERAL (
        SELECT d.platform, d.account, d.type, d.key FROM crossdock.documents d WHERE d.id = e.document_id OFFSET 0
    ) d
    JOIN unnest($1::text[], $2::text[], $3::text[]) AS s (platform, account, type) USING (platform, account, type)
    CROSS JOIN LATERAL (
        SELECT v.id, v.version FROM crossdock.versions v
        WHERE v.document_id = e.document_id AND v.received_at = e.received_at AND v.message_id = e.message_id
          AND NOT 'erased' = ANY (v.flags)
        OFFSET 0
    ) v
    WHERE $8::text IS NULL OR d.key = $8
    ORDER BY e.received_at, e.message_id
    LIMIT $9
)
SELECT last.received_at AS last_at, last.message_id AS last_id, last.examined, matched.*
FROM last
LEFT JOIN matched ON true
ORDER BY matched.received_at, matched.message_id

-- name: write
-- Enqueues deliveries of the replay $2 to the subscription $1.
INSERT INTO crossdock.outbox (
    id, subscription_id, next_attempt_at, received_at, event_id, message_id, replay_id, document_id, version, type, key
)
SELECT e.id, $1, now(), e.received_at, e.event_id, e.message_id, $2, e.document_id, e.version, e.type, e.key
FROM unnest($3::uuid[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::bigint[], $8::int[], $9::text[], $10::text[])
     AS e (id, event_id, received_at, message_id, document_id, version, type, key)
ON CONFLICT (id) DO NOTHING

-- name: advance
-- Notes that $2 more deliveries were written, up to the position ($3, $4). $5: whether these were the last.
UPDATE crossdock.replays
SET written = written + $2, after_at = $3, after_id = $4, finished_at = CASE WHEN $5 THEN now() END
WHERE id = $1

-- name: progress
-- Counting may have stopped at its limit when the replay was requested, so until everything is written there is more to
-- come.
SELECT CASE WHEN r.finished_at IS NULL THEN GREATEST(r.count, r.written + 1) ELSE r.written END AS count, r.written,
       (SELECT count(*) FROM crossdock.outbox o WHERE o.replay_id = r.id) AS waiting
FROM crossdock.replays r
WHERE r.id = $1

-- name: stop
-- Ends the writing of a replay. One that is completely written may still have deliveries that wait.
UPDATE crossdock.replays
SET finished_at = coalesce(finished_at, now()), stopped_at = coalesce(stopped_at, now())
WHERE id = $1
RETURNING id

-- name: cancel_waiting
-- Cancels the pending deliveries of a replay, and returns how many there were.
WITH gone AS (
    DELETE FROM crossdock.outbox WHERE replay_id = $1 RETURNING *
), kept AS (
    INSERT INTO crossdock.finished (
        id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
        type, key, status, payload
    )
    SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version,
           attempts, type, key, 'cancelled', payload
    FROM gone
)
SELECT count(*) FROM gone

-- name: listing
-- The newest $2 replays of a subscription, with their waiting deliveries, which are few: no more are written until these
-- are sent.
SELECT r.id, r.subscription_id, r.created_at, r.from_at, r.to_at, r.types, r.key, r.written, r.finished_at,
       r.stopped_at, w.waiting,
       CASE WHEN r.finished_at IS NULL THEN greatest(r.count, r.written)
            WHEN r.stopped_at IS NULL THEN r.written ELSE greatest(r.count, r.written) END AS count
FROM crossdock.replays r
CROSS JOIN LATERAL (SELECT count(*) AS waiting FROM crossdock.outbox o WHERE o.replay_id = r.id) w
WHERE r.subscription_id = $1
ORDER BY r.created_at DESC, r.id DESC
LIMIT $2
