-- name: list
-- Messages, the newest first, at most $2. $1: whether to include those that were replayed or discarded.
SELECT id, platform, account, event, stage, attempts, reason, received_at, replayed_at, discarded_at,
       length(raw) AS bytes
FROM crossdock.quarantined
WHERE ($1 OR (replayed_at IS NULL AND discarded_at IS NULL))
  AND ($3::text IS NULL OR stage = $3)
  AND ($4::text IS NULL OR platform = $4)
  AND ($5::text IS NULL OR account = $5)
  AND ($6::text IS NULL OR position(lower($6) IN lower(reason)) > 0)
  AND ($7::text IS NULL OR event = $7)
ORDER BY received_at DESC, id
LIMIT $2

-- name: show
SELECT id, platform, account, event, stage, attempts, reason, received_at, replayed_at, discarded_at, content_type,
       traceparent, raw
FROM crossdock.quarantined
WHERE id = $1

-- name: describe
-- Like `show`, without the body. $1: its id.
SELECT id, received_at, stored_at, platform, account, event, stage, attempts, reason, replayed_at, discarded_at,
       erased_at, content_type, length(raw) AS bytes
FROM crossdock.quarantined
WHERE id = $1

-- name: raw_of
-- The bytes of a message from $2 on, at most $3.
SELECT substring(raw FROM $2 + 1 FOR $3) FROM crossdock.quarantined WHERE id = $1

-- name: existing
SELECT id, length(raw) AS bytes FROM crossdock.quarantined WHERE id = ANY ($1::uuid[])

-- name: select_open
-- The next messages that need attention, oldest first, after ($8, $9). At most $10 per stage ($1) are examined, by the
-- index of each stage; the single row says how many, and where to go on. A null matches any value. $5: part of the
-- reason. $6: the start of the reason, as the index has it. $7: stored before this time.
WITH examined AS MATERIALIZED (
    SELECT q.*
    FROM unnest($1::text[]) AS stages (stage)
    CROSS JOIN LATERAL (
        SELECT q.id, q.received_at, length(q.raw) AS bytes,
               ($2::text IS NULL OR q.platform = $2)
               AND ($3::text IS NULL OR q.account = $3)
               AND ($4::text IS NULL OR q.event = $4)
               AND ($5::text IS NULL OR position(lower($5) IN lower(q.reason)) > 0)
               AND ($6::text IS NULL OR btrim(left(q.reason, 200)) = btrim($6))
               AND ($7::timestamptz IS NULL OR q.stored_at < $7) AS matches
        FROM crossdock.quarantined q
        WHERE q.replayed_at IS NULL AND q.discarded_at IS NULL AND q.stage = stages.stage
          AND ($8::timestamptz IS NULL OR (q.received_at, q.id) > ($8, $9::uuid))
        ORDER BY q.received_at, q.id
        LIMIT $10
    ) q
    ORDER BY q.received_at, q.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY received_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(received_at ORDER BY received_at, id) FILTER (WHERE matches), '{}') AS received_at,
       coalesce(array_agg(bytes ORDER BY received_at, id) FILTER (WHERE matches), '{}') AS sizes,
       (array_agg(received_at ORDER BY received_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY received_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: rows_open
-- Messages that need attention, newest first, before ($8, $9). At most $11 per stage ($1) are examined; each row says
-- how many were, and when the oldest of them was received. The other parameters are those of `select_open`; $10: rows.
WITH examined AS MATERIALIZED (
    SELECT q.*
    FROM unnest($1::text[]) AS stages (stage)
    CROSS JOIN LATERAL (
        SELECT q.id, q.received_at, q.stored_at, q.platform, q.account, q.event, q.stage, q.attempts, q.reason,
               q.replayed_at, q.discarded_at
        FROM crossdock.quarantined q
        WHERE q.replayed_at IS NULL AND q.discarded_at IS NULL AND q.stage = stages.stage
          AND ($8::timestamptz IS NULL OR (q.received_at, q.id) < ($8, $9::uuid))
        ORDER BY q.received_at DESC, q.id DESC
        LIMIT $11
    ) q
    ORDER BY q.received_at DESC, q.id DESC
    LIMIT $11
), looked AS (
    SELECT count(*) AS examined, min(received_at) AS back_to FROM examined
), matched AS (
    SELECT * FROM examined q
    WHERE ($2::text IS NULL OR q.platform = $2)
      AND ($3::text IS NULL OR q.account = $3)
      AND ($4::text IS NULL OR q.event = $4)
      AND ($5::text IS NULL OR position(lower($5) IN lower(q.reason)) > 0)
      AND ($6::text IS NULL OR btrim(left(q.reason, 200)) = btrim($6))
      AND ($7::timestamptz IS NULL OR q.stored_at < $7)
    ORDER BY q.received_at DESC, q.id DESC
    LIMIT $10
)
SELECT looked.examined, looked.back_to, matched.*
FROM looked
LEFT JOIN matched ON true
ORDER BY matched.received_at DESC, matched.id DESC

-- name: rows_dealt_with
-- Like `rows_open`, for messages that were replayed or discarded.
WITH examined AS MATERIALIZED (
    SELECT q.*
    FROM unnest($1::text[]) AS stages (stage)
    CROSS JOIN LATERAL (
        SELECT q.id, q.received_at, q.stored_at, q.platform, q.account, q.event, q.stage, q.attempts, q.reason,
               q.replayed_at, q.discarded_at
        FROM crossdock.quarantined q
        WHERE q.stage = stages.stage
          AND ($8::timestamptz IS NULL OR (q.received_at, q.id) < ($8, $9::uuid))
        ORDER BY q.received_at DESC, q.id DESC
        LIMIT $11
    ) q
    ORDER BY q.received_at DESC, q.id DESC
    LIMIT $11
), looked AS (
    SELECT count(*) AS examined, min(received_at) AS back_to FROM examined
), matched AS (
    SELECT * FROM examined q
    WHERE (q.replayed_at IS NOT NULL OR q.discarded_at IS NOT NULL)
      AND ($2::text IS NULL OR q.platform = $2)
      AND ($3::text IS NULL OR q.account = $3)
      AND ($4::text IS NULL OR q.event = $4)
      AND ($5::text IS NULL OR position(lower($5) IN lower(q.reason)) > 0)
      AND ($6::text IS NULL OR btrim(left(q.reason, 200)) = btrim($6))
      AND ($7::timestamptz IS NULL OR q.stored_at < $7)
    ORDER BY q.received_at DESC, q.id DESC
    LIMIT $10
)
SELECT looked.examined, looked.back_to, matched.*
FROM looked
LEFT JOIN matched ON true
ORDER BY matched.received_at DESC, matched.id DESC

-- name: groups
-- The newest $2 messages per stage ($1) that need attention, by reason, account and event, the largest group first;
-- at most $3 groups. Each row says how many messages were examined.
WITH examined AS MATERIALIZED (
    SELECT q.*
    FROM unnest($1::text[]) AS stages (stage)
    CROSS JOIN LATERAL (
        SELECT q.platform, q.account, q.event, q.stage, q.received_at, left(q.reason, 200) AS reason
        FROM crossdock.quarantined q
        WHERE q.replayed_at IS NULL AND q.discarded_at IS NULL AND q.stage = stages.stage
        ORDER BY q.received_at DESC, q.id DESC
        LIMIT $2
    ) q
    ORDER BY q.received_at DESC
    LIMIT $2
)
SELECT platform, account, event, stage, reason, count(*) AS messages, min(received_at) AS first_at,
       max(received_at) AS last_at, (SELECT count(*) FROM examined) AS examined
FROM examined
GROUP BY platform, account, event, stage, reason
ORDER BY messages DESC, last_at DESC, reason, event
LIMIT $3

-- name: last_good
-- The newest document of an account ($1, $2) that an event named $3 led to, among the newest 5 of each type. The query
-- jumps from type to type through an index.
WITH RECURSIVE types AS (
    (
        SELECT type FROM crossdock.documents WHERE platform = $1 AND account = $2 ORDER BY type LIMIT 1
    )
    UNION ALL
    SELECT following.type
    FROM types
    CROSS JOIN LATERAL (
        SELECT d.type FROM crossdock.documents d
        WHERE d.platform = $1 AND d.account = $2 AND d.type > types.type
        ORDER BY d.type
        LIMIT 1
    ) following
)
SELECT d.id, d.type, d.key, d.version, d.last_received_at
FROM types
CROSS JOIN LATERAL (
    SELECT d.id, d.type, d.key, d.version, d.last_received_at, d.version_id, d.received_at
    FROM crossdock.documents d
    WHERE d.platform = $1 AND d.account = $2 AND d.type = types.type
    ORDER BY d.id DESC
    LIMIT 5
) d
CROSS JOIN LATERAL (
    SELECT v.received_at, v.message_id FROM crossdock.versions v
    WHERE v.id = d.version_id AND v.received_at = d.received_at
    OFFSET 0
) v
CROSS JOIN LATERAL (
    SELECT r.event FROM crossdock.receipts r
    WHERE r.received_at = v.received_at AND r.message_id = v.message_id
    OFFSET 0
) r
WHERE r.event = $3
ORDER BY d.last_received_at DESC
LIMIT 1

-- name: stored_as
-- The document that a message ($1, received at $2) was stored in.
SELECT d.id, d.platform, d.account, d.type, d.key
FROM crossdock.receipts r
JOIN crossdock.documents d ON d.id = r.document_id
WHERE r.received_at = $2 AND r.message_id = $1

-- name: acted_on
-- What operators did with one message ($1), newest first, at most $2, among the newest $3 actions since it came in ($4).
SELECT at, operator, action, note, outcome
FROM (
    SELECT at, id, operator, action, subject, note, outcome
    FROM crossdock.actions
    WHERE at >= $4
    ORDER BY at DESC, id DESC
    LIMIT $3
) newest
WHERE subject = $1 AND action LIKE 'quarantine.%'
ORDER BY at DESC, id DESC
LIMIT $2

-- name: job_of
-- Who started the job that acted at the time $1; null if several may have. $2: its action.
SELECT CASE WHEN count(DISTINCT operator) = 1 THEN min(operator) END
FROM (
    SELECT operator, finished_at FROM crossdock.jobs
    WHERE created_at BETWEEN $1::timestamptz - interval '1 day' AND $1 AND action = $2
    ORDER BY created_at DESC, id DESC
    LIMIT 100
) recent
WHERE finished_at IS NULL OR finished_at >= $1

-- name: lock
-- The rows stay locked until the broker has confirmed the messages: one that fails again in the meantime is put back
-- into quarantine after the commit. Nothing is left to send of an erased message. $2: whether to include messages that
-- were replayed or discarded.
SELECT id, platform, account, event, received_at, content_type, traceparent, routing_key, raw
FROM crossdock.quarantined
WHERE id = ANY ($1::uuid[]) AND ($2 OR (replayed_at IS NULL AND discarded_at IS NULL)) AND erased_at IS NULL
ORDER BY received_at, id
FOR UPDATE

-- name: all_replayed
UPDATE crossdock.quarantined SET replayed_at = now() WHERE id = ANY ($1::uuid[])

-- name: discard_all
UPDATE crossdock.quarantined SET discarded_at = now()
WHERE id = ANY ($1::uuid[]) AND discarded_at IS NULL
RETURNING id

-- name: discard_waiting
UPDATE crossdock.quarantined SET discarded_at = now()
WHERE id = ANY ($1::uuid[]) AND replayed_at IS NULL AND discarded_at IS NULL
RETURNING id

-- name: by_stage
SELECT stage, count(*) AS messages, extract(epoch FROM now() - min(received_at))::float8 AS oldest_seconds
FROM crossdock.quarantined
WHERE replayed_at IS NULL AND discarded_at IS NULL
GROUP BY stage
