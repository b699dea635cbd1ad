-- name: active_subscriptions
-- Read with every batch that produces deliveries: there are few subscriptions, and each one takes effect as soon as it
-- exists.
SELECT id, subscriber, types, accounts, dialect, filter, now() AS now,
       now() + coalesce(schedule[1], $1) * interval '1 second' AS first
FROM crossdock.subscribed
WHERE enabled AND deleted_at IS NULL

-- name: wake
-- A hint to the workers, which also poll. It has no payload, so that PostgreSQL sends it once per transaction.
SELECT pg_notify('crossdock_outbox', '')

-- name: supersede
-- A newer version is stored, so the pending deliveries of the document to these subscriptions are superseded.
WITH gone AS (
    DELETE FROM crossdock.outbox o
    USING unnest($1::uuid[], $2::bigint[]) AS newer (subscription_id, document_id)
    WHERE o.document_id = newer.document_id AND o.subscription_id = newer.subscription_id AND o.payload IS NULL
    RETURNING o.*
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'superseded', payload
FROM gone

-- name: lease
-- Leases subscriptions that have due deliveries and no other worker. $1: worker. $2: seconds. $3: maximum number. $4,
-- $5: the number of subscriptions that the worker has leased already, per subscriber. $6: subscriptions that it skips
-- for now. The order is fair: subscribers with the fewest leases come first, so that the many subscriptions of one
-- subscriber never keep out another's.
WITH candidates AS MATERIALIZED (
    SELECT s.id
    FROM crossdock.subscribed s
    LEFT JOIN unnest($4::text[], $5::int[]) AS own (subscriber, leases) ON own.subscriber = s.subscriber
    WHERE s.enabled AND s.deleted_at IS NULL AND (s.leased_until IS NULL OR s.leased_until < now())
      AND (s.paused_until IS NULL OR s.paused_until <= now()) AND s.id <> ALL ($6::uuid[])
      AND EXISTS (SELECT FROM crossdock.outbox o WHERE o.subscription_id = s.id AND o.next_attempt_at <= now())
    ORDER BY coalesce(own.leases, 0) + row_number() OVER (PARTITION BY s.subscriber ORDER BY s.id)
    LIMIT $3
), due AS (
    SELECT s.id
    FROM crossdock.subscribed s
    JOIN candidates ON candidates.id = s.id
    WHERE s.enabled AND s.deleted_at IS NULL AND (s.leased_until IS NULL OR s.leased_until < now())
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE crossdock.subscribed s
SET leased_by = $1, leased_until = now() + $2 * interval '1 second'
FROM due
WHERE s.id = due.id
RETURNING s.id, s.subscriber, s.url, s.dialect, s.query_key, s.schedule, s.max_rate, s.max_in_flight, s.sealed,
          s.updated_at, s.payload

-- name: waiting_subscriptions
-- The number of subscriptions per subscriber that wait for a worker with a free place, as `lease` would find them. $1:
-- subscriptions that this worker skips for now.
SELECT s.subscriber, count(*) AS waiting
FROM crossdock.subscribed s
WHERE s.enabled AND s.deleted_at IS NULL AND (s.leased_until IS NULL OR s.leased_until < now())
  AND (s.paused_until IS NULL OR s.paused_until <= now()) AND s.id <> ALL ($1::uuid[])
  AND EXISTS (SELECT FROM crossdock.outbox o WHERE o.subscription_id = s.id AND o.next_attempt_at <= now())
GROUP BY s.subscriber

-- name: renew
-- Extends the leases of the subscriptions $3 of the worker $1 that are still its own and still enabled, by $2 seconds
-- from now; returns their present settings.
UPDATE crossdock.subscribed s
SET leased_until = now() + $2 * interval '1 second'
WHERE s.leased_by = $1 AND s.id = ANY ($3::uuid[]) AND s.enabled AND s.deleted_at IS NULL
RETURNING s.id, s.subscriber, s.url, s.dialect, s.query_key, s.schedule, s.max_rate, s.max_in_flight, s.sealed,
          s.updated_at, s.payload

-- name: release
UPDATE crossdock.subscribed SET leased_by = NULL, leased_until = NULL
WHERE leased_by = $1 AND id = ANY ($2::uuid[])

-- name: due
-- The due deliveries of each subscription, longest due first, without those in progress. $1: subscriptions. $2: the
-- maximum number of each. $3: deliveries in progress. The rows are found through indexes alone. A subscription must be
-- leased by $4 now: while a worker could not renew its leases, another one may have taken them over and would send the
-- same deliveries at the same time.
SELECT d.id, d.subscription_id, d.event_id, d.message_id, d.document_id, d.type, d.key,
       d.attempts, d.next_attempt_at, d.payload IS NOT NULL AS has_payload
FROM unnest($1::uuid[], $2::int[]) AS s (id, free_slots)
JOIN crossdock.subscribed mine ON mine.id = s.id AND mine.leased_by = $4 AND mine.leased_until > now()
    AND (mine.paused_until IS NULL OR mine.paused_until <= now())
CROSS JOIN LATERAL (
    SELECT *
    FROM crossdock.outbox o
    WHERE o.subscription_id = s.id AND o.next_attempt_at <= now() AND o.id NOT IN (SELECT unnest($3::uuid[]))
    ORDER BY o.next_attempt_at, o.id
    LIMIT s.free_slots
) d

-- name: contents
-- The content of deliveries that are about to be attempted, read as late as possible: a row that is missing here was
-- cancelled or superseded, or its subscription is no longer leased by $3. $1: deliveries. $2: for each, the largest
-- body that may be returned; a larger one is only measured, and below 0 nothing of it is read, because another row
-- returns the same body. If message_id is null, retention has deleted the receipt. An event that announces an erasure
-- has the time of the erasure, as on `crossdock.events`. Every table is read by key, one look-up per delivery (hence
-- LATERAL and LIMIT): a free join would read the whole outbox of a subscription.
SELECT o.id, s.updated_at, r.message_id, d.platform, d.account, r.event,
       CASE WHEN o.type = 'crossdock.erased' THEN o.created_at ELSE r.received_at END AS received_at, r.content_type,
       CASE WHEN o.type <> 'crossdock.erased' THEN r.traceparent END AS traceparent, r.flags, o.version,
       octet_length(coalesce(o.payload, r.raw)) AS size,
       CASE WHEN octet_length(coalesce(o.payload, r.raw)) <= a.allowed THEN coalesce(o.payload, r.raw) END AS raw
FROM unnest($1::uuid[], $2::int[]) AS a (id, allowed)
CROSS JOIN LATERAL (SELECT * FROM crossdock.outbox WHERE id = a.id LIMIT 1) o
CROSS JOIN LATERAL (
    SELECT updated_at
    FROM crossdock.subscribed
    WHERE id = o.subscription_id AND leased_by = $3 AND leased_until > now() AND enabled AND deleted_at IS NULL
      AND (paused_until IS NULL OR paused_until <= now())
    LIMIT 1
) s
LEFT JOIN LATERAL (
    SELECT * FROM crossdock.receipts
    WHERE received_at = o.received_at AND message_id = o.message_id AND a.allowed >= 0
    LIMIT 1
) r ON true
LEFT JOIN crossdock.documents d ON d.id = r.document_id

-- name: newest_contents
-- Like `contents`, but with the newest copy of each document.
SELECT o.id, s.updated_at, r.message_id, r.platform, r.account, r.event, r.received_at, r.content_type,
       r.traceparent, r.flags, r.version, octet_length(r.raw) AS size,
       CASE WHEN octet_length(r.raw) <= a.allowed THEN r.raw END AS raw
FROM unnest($1::uuid[], $2::int[]) AS a (id, allowed)
CROSS JOIN LATERAL (SELECT * FROM crossdock.outbox WHERE id = a.id LIMIT 1) o
CROSS JOIN LATERAL (
    SELECT updated_at
    FROM crossdock.subscribed
    WHERE id = o.subscription_id AND leased_by = $3 AND leased_until > now() AND enabled AND deleted_at IS NULL
      AND (paused_until IS NULL OR paused_until <= now())
    LIMIT 1
) s
LEFT JOIN LATERAL (
    SELECT d.platform, d.account, r.message_id, r.event, r.received_at, r.content_type, r.traceparent, r.flags, r.raw,
           v.version
    FROM crossdock.documents d
    JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
    JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id
    WHERE d.id = o.document_id AND a.allowed >= 0
    LIMIT 1
) r ON true

-- name: postpone
-- The subscriber may no longer see these deliveries. In case its configuration is a mistake, they are kept for three
-- days, checked again every hour, and then cancelled. This does not count as an attempt.
WITH late AS (
    DELETE FROM crossdock.outbox
    WHERE id = ANY ($1::uuid[]) AND created_at < now() - interval '3 days'
    RETURNING *
), postponed AS (
    UPDATE crossdock.outbox SET next_attempt_at = now() + interval '1 hour'
    WHERE id = ANY ($1::uuid[]) AND created_at >= now() - interval '3 days'
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'cancelled', payload
FROM late

-- name: due_of
-- At most $2 due deliveries of a subscription, regardless of whether its subscriber may see them.
SELECT id FROM crossdock.outbox WHERE subscription_id = $1 AND next_attempt_at <= now() LIMIT $2

-- name: sweep
-- Cancels deliveries of subscriptions that were deleted while the deliveries were being written, at most $1 at a time.
WITH gone AS (
    DELETE FROM crossdock.outbox
    WHERE id IN (
        SELECT o.id
        FROM crossdock.subscribed s
        CROSS JOIN LATERAL (SELECT id FROM crossdock.outbox WHERE subscription_id = s.id LIMIT $1) o
        WHERE s.deleted_at IS NOT NULL
        LIMIT $1
    )
    RETURNING *
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'cancelled', payload
FROM gone
RETURNING id

-- name: attempted
-- Stores the outcomes of attempts. A delivery that was superseded or cancelled in the meantime keeps that status, and
-- its attempt is stored all the same; without the answer, which may repeat the content, if that was erased. Only for
-- those deliveries are earlier attempts looked up, because an erasure removes what it erases from the outbox.
WITH result AS (
    SELECT *
    FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::int[], $6::float8[], $7::bytea[], $8::text[],
                $9::text[], $10::float8[])
         AS r (id, attempt, at, outcome, status_code, duration_ms, response, error, status, next_seconds)
), waiting AS (
    UPDATE crossdock.outbox o
    SET attempts = result.attempt, next_attempt_at = now() + result.next_seconds * interval '1 second'
    FROM result
    WHERE o.id = result.id AND result.status = 'pending'
    RETURNING o.id
), gone AS (
    DELETE FROM crossdock.outbox o
    USING result
    WHERE o.id = result.id AND result.status <> 'pending'
    RETURNING o.*, result.attempt, result.status
), kept AS (
    INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, error, response)
    SELECT id, at, attempt, status_code, duration_ms, outcome, CASE WHEN NOT is_erased THEN error END,
           CASE WHEN is_erased THEN '' ELSE response END
    FROM result
    LEFT JOIN (SELECT id, false AS is_missing FROM gone UNION ALL SELECT id, false FROM waiting) present USING (id)
    CROSS JOIN LATERAL (
        SELECT coalesce(is_missing, true)
               AND EXISTS (SELECT FROM crossdock.attempts a
                           WHERE a.delivery_id = result.id AND a.error = 'the content was erased')
    ) late (is_erased)
    ON CONFLICT DO NOTHING
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempt,
       type, key, status, payload
FROM gone

-- name: disable
-- Stops new deliveries and attempts of a subscription; its pending deliveries stay until it is enabled again. It is
-- disabled only if it has not changed since the attempt. $3: the URL that was called. $4: its `updated_at` at that
-- time.
UPDATE crossdock.subscribed SET enabled = false, disabled_reason = $2, updated_at = now()
WHERE id = $1 AND enabled AND url = $3 AND updated_at = $4
RETURNING id

-- name: pause
-- The subscriber's server asked for a pause of $2 seconds. $3: the URL that was called. A shorter pause never ends a
-- longer one.
UPDATE crossdock.subscribed
SET paused_until = greatest(paused_until, now() + $2 * interval '1 second')
WHERE id = $1 AND url = $3

-- name: waiting
-- The number and age of due deliveries of this worker's subscriptions ($1) and of those that no worker holds.
-- Subscriptions that it skips for now ($2) and those with a maximum rate are left out, because more workers would not
-- help them. At most $3 deliveries are counted per subscription.
SELECT coalesce(sum(d.due), 0)::bigint AS due,
       coalesce(extract(epoch FROM now() - min(d.oldest)), 0)::float8 AS oldest
FROM crossdock.subscribed s
CROSS JOIN LATERAL (
    SELECT count(*) AS due, min(first.next_attempt_at) AS oldest
    FROM (
        SELECT o.next_attempt_at
        FROM crossdock.outbox o
        WHERE o.subscription_id = s.id AND o.next_attempt_at <= now()
        ORDER BY o.next_attempt_at
        LIMIT $3
    ) first
) d
WHERE s.enabled AND s.deleted_at IS NULL AND s.max_rate IS NULL AND s.id <> ALL ($2::uuid[])
  AND (s.paused_until IS NULL OR s.paused_until <= now())
  AND (s.leased_by = $1 OR s.leased_until IS NULL OR s.leased_until < now())
