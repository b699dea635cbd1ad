-- The lists of deliveries in the console, newest first by (created_at, id), each with the index that has its order. The
-- parameters are the same everywhere: the list starts before ($1, $2); of the next $3 deliveries in that order, those
-- are returned that have the type $4 and the account $5 (`platform/account`), and that ended, or were created if they
-- are pending, at or after $6 and before $7; at most $8. A null matches everything. Queries with more parameters say what
-- they are.
--
-- The account is compared through a scalar subquery, which PostgreSQL evaluates per delivery: with EXISTS it might read
-- all documents once instead.

-- name: pending
SELECT o.id, o.subscription_id, o.event_id, o.type, o.key, o.version, 'pending' AS status, o.attempts,
       o.next_attempt_at, o.created_at, NULL::timestamptz AS finished_at, o.document_id, o.replay_id
FROM (
    SELECT * FROM crossdock.outbox
    WHERE (created_at, id) < ($1::timestamptz, $2::uuid)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) o
WHERE ($4::text IS NULL OR o.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = o.document_id))
  AND ($6::timestamptz IS NULL OR o.created_at >= $6)
  AND ($7::timestamptz IS NULL OR o.created_at < $7)
ORDER BY o.created_at DESC, o.id DESC
LIMIT $8

-- name: pending_of_subscription
-- $9: the subscription.
SELECT o.id, o.subscription_id, o.event_id, o.type, o.key, o.version, 'pending' AS status, o.attempts,
       o.next_attempt_at, o.created_at, NULL::timestamptz AS finished_at, o.document_id, o.replay_id
FROM (
    SELECT * FROM crossdock.outbox
    WHERE subscription_id = $9::uuid AND (created_at, id) < ($1::timestamptz, $2::uuid)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) o
WHERE ($4::text IS NULL OR o.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = o.document_id))
  AND ($6::timestamptz IS NULL OR o.created_at >= $6)
  AND ($7::timestamptz IS NULL OR o.created_at < $7)
ORDER BY o.created_at DESC, o.id DESC
LIMIT $8

-- name: unsuccessful
-- $9: the status, which is not `delivered`. It is compared as the beginning of a place in the index: with `=`, PostgreSQL
-- prefers the index of what failed today, and would read and sort all that ever failed.
SELECT f.id, f.subscription_id, f.event_id, f.type, f.key, f.version, f.status, f.attempts,
       NULL::timestamptz AS next_attempt_at, f.created_at, f.finished_at, f.document_id, f.replay_id
FROM (
    SELECT * FROM crossdock.finished
    WHERE (status, created_at, id) < ($9::text, $1::timestamptz, $2::uuid) AND status >= $9 AND status <> 'delivered'
    ORDER BY status DESC, created_at DESC, id DESC
    LIMIT $3
) f
WHERE ($4::text IS NULL OR f.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = f.document_id))
  AND ($6::timestamptz IS NULL OR f.finished_at >= $6)
  AND ($7::timestamptz IS NULL OR f.finished_at < $7)
ORDER BY f.created_at DESC, f.id DESC
LIMIT $8

-- name: unsuccessful_of_subscription
-- $9: the subscription. $10: the status, which is not `delivered`.
SELECT f.id, f.subscription_id, f.event_id, f.type, f.key, f.version, f.status, f.attempts,
       NULL::timestamptz AS next_attempt_at, f.created_at, f.finished_at, f.document_id, f.replay_id
FROM (
    SELECT * FROM crossdock.finished
    WHERE subscription_id = $9::uuid
      AND (status, created_at, id) < ($10::text, $1::timestamptz, $2::uuid) AND status >= $10 AND status <> 'delivered'
    ORDER BY status DESC, created_at DESC, id DESC
    LIMIT $3
) f
WHERE ($4::text IS NULL OR f.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = f.document_id))
  AND ($6::timestamptz IS NULL OR f.finished_at >= $6)
  AND ($7::timestamptz IS NULL OR f.finished_at < $7)
ORDER BY f.created_at DESC, f.id DESC
LIMIT $8

-- name: delivered
-- Nearly all that ended were delivered.
SELECT f.id, f.subscription_id, f.event_id, f.type, f.key, f.version, f.status, f.attempts,
       NULL::timestamptz AS next_attempt_at, f.created_at, f.finished_at, f.document_id, f.replay_id
FROM (
    SELECT * FROM crossdock.finished
    WHERE (created_at, id) < ($1::timestamptz, $2::uuid)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) f
WHERE f.status = 'delivered'
  AND ($4::text IS NULL OR f.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = f.document_id))
  AND ($6::timestamptz IS NULL OR f.finished_at >= $6)
  AND ($7::timestamptz IS NULL OR f.finished_at < $7)
ORDER BY f.created_at DESC, f.id DESC
LIMIT $8

-- name: delivered_of_subscription
-- $9: the subscription.
SELECT f.id, f.subscription_id, f.event_id, f.type, f.key, f.version, f.status, f.attempts,
       NULL::timestamptz AS next_attempt_at, f.created_at, f.finished_at, f.document_id, f.replay_id
FROM (
    SELECT * FROM crossdock.finished
    WHERE subscription_id = $9::uuid AND (created_at, id) < ($1::timestamptz, $2::uuid)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) f
WHERE f.status = 'delivered'
  AND ($4::text IS NULL OR f.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = f.document_id))
  AND ($6::timestamptz IS NULL OR f.finished_at >= $6)
  AND ($7::timestamptz IS NULL OR f.finished_at < $7)
ORDER BY f.created_at DESC, f.id DESC
LIMIT $8

-- name: newest
SELECT v.id, v.subscription_id, v.event_id, v.type, v.key, v.version, v.status, v.attempts, v.next_attempt_at,
       v.created_at, v.finished_at, v.document_id, v.replay_id
FROM (
    SELECT * FROM crossdock.deliveries
    WHERE (created_at, id) < ($1::timestamptz, $2::uuid)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) v
WHERE ($4::text IS NULL OR v.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = v.document_id))
  AND ($6::timestamptz IS NULL OR coalesce(v.finished_at, v.created_at) >= $6)
  AND ($7::timestamptz IS NULL OR coalesce(v.finished_at, v.created_at) < $7)
ORDER BY v.created_at DESC, v.id DESC
LIMIT $8

-- name: newest_of_subscription
-- $9: the subscription.
SELECT v.id, v.subscription_id, v.event_id, v.type, v.key, v.version, v.status, v.attempts, v.next_attempt_at,
       v.created_at, v.finished_at, v.document_id, v.replay_id
FROM (
    SELECT * FROM crossdock.deliveries
    WHERE subscription_id = $9::uuid AND (created_at, id) < ($1::timestamptz, $2::uuid)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) v
WHERE ($4::text IS NULL OR v.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = v.document_id))
  AND ($6::timestamptz IS NULL OR coalesce(v.finished_at, v.created_at) >= $6)
  AND ($7::timestamptz IS NULL OR coalesce(v.finished_at, v.created_at) < $7)
ORDER BY v.created_at DESC, v.id DESC
LIMIT $8

-- name: of_key
-- A key has few deliveries, which are found through its hash indexes. $9: the key. $10: the status. $11: the
-- subscription.
SELECT v.id, v.subscription_id, v.event_id, v.type, v.key, v.version, v.status, v.attempts, v.next_attempt_at,
       v.created_at, v.finished_at, v.document_id, v.replay_id
FROM (SELECT * FROM crossdock.deliveries WHERE key = $9::text LIMIT $3) v
WHERE (v.created_at, v.id) < ($1::timestamptz, $2::uuid)
  AND ($4::text IS NULL OR v.type = $4)
  AND ($5::text IS NULL OR $5 = (SELECT d.platform || '/' || d.account FROM crossdock.documents d
                                 WHERE d.id = v.document_id))
  AND ($6::timestamptz IS NULL OR coalesce(v.finished_at, v.created_at) >= $6)
  AND ($7::timestamptz IS NULL OR coalesce(v.finished_at, v.created_at) < $7)
  AND ($10::text IS NULL OR v.status = $10)
  AND ($11::uuid IS NULL OR v.subscription_id = $11)
ORDER BY v.created_at DESC, v.id DESC
LIMIT $8

-- name: last_pending
-- The queries whose names begin with `last` return the place of the last delivery that their list examines, which is
-- number $3 before ($1, $2); nothing if there are fewer.
SELECT created_at, id FROM crossdock.outbox
WHERE (created_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_pending_of_subscription
SELECT created_at, id FROM crossdock.outbox
WHERE subscription_id = $4::uuid AND (created_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_unsuccessful
SELECT created_at, id FROM crossdock.finished
WHERE (status, created_at, id) < ($4::text, $1::timestamptz, $2::uuid) AND status >= $4 AND status <> 'delivered'
ORDER BY status DESC, created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_unsuccessful_of_subscription
SELECT created_at, id FROM crossdock.finished
WHERE subscription_id = $4::uuid
  AND (status, created_at, id) < ($5::text, $1::timestamptz, $2::uuid) AND status >= $5 AND status <> 'delivered'
ORDER BY status DESC, created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_delivered
SELECT created_at, id FROM crossdock.finished
WHERE (created_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_delivered_of_subscription
SELECT created_at, id FROM crossdock.finished
WHERE subscription_id = $4::uuid AND (created_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_newest
SELECT created_at, id FROM crossdock.deliveries
WHERE (created_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: last_newest_of_subscription
SELECT created_at, id FROM crossdock.deliveries
WHERE subscription_id = $4::uuid AND (created_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY created_at DESC, id DESC
OFFSET $3::bigint - 1 LIMIT 1

-- name: described
-- What a list shows of each delivery ($1, its subscription $2, its document $3 and when it was created $4) beside its own
-- row: its subscriber, its account, and its newest attempt with the beginning of the answer. Months before it was created
-- have no attempt of it, by whatever clock.
SELECT r.id, s.subscriber, s.url, s.is_gone, s.enabled, s.paused_until, d.platform, d.account,
       d.type AS document_type, d.key AS document_key, a.at, a.outcome, a.status_code, a.error, a.response
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[]) AS r (id, subscription_id, document_id, created_at)
LEFT JOIN LATERAL (
    SELECT subscriber, split_part(url, '?', 1) AS url, deleted_at IS NOT NULL AS is_gone, enabled, paused_until
    FROM crossdock.subscribed WHERE id = r.subscription_id OFFSET 0
) s ON true
LEFT JOIN LATERAL (
    SELECT platform, account, type, key FROM crossdock.documents WHERE id = r.document_id OFFSET 0
) d ON true
LEFT JOIN LATERAL (
    SELECT at, outcome, status_code, left(error, 300) AS error, substr(response, 1, 200) AS response
    FROM crossdock.attempts
    WHERE delivery_id = r.id AND at >= r.created_at - interval '1 day'
    ORDER BY at DESC
    LIMIT 1
) a ON true

-- name: newest_attempts
-- The newest $2 attempts of a delivery, with the first $3 bytes of each answer.
SELECT attempt, at, outcome, status_code, duration_ms, error, substr(response, 1, $3) AS response,
       octet_length(response) AS response_size
FROM crossdock.attempts
WHERE delivery_id = $1
ORDER BY at DESC
LIMIT $2

-- name: one
-- A delivery by its id, as lists have it.
SELECT id, subscription_id, event_id, type, key, version, status, attempts, next_attempt_at, created_at, finished_at,
       document_id, replay_id
FROM crossdock.deliveries
WHERE id = $1
ORDER BY finished_at DESC NULLS FIRST
LIMIT 1

-- name: content
-- What a delivery sends: its own payload, or the body that was received, if it has at most $2 bytes.
SELECT own.received_at, octet_length(coalesce(own.payload, r.raw)) AS size,
       CASE WHEN octet_length(coalesce(own.payload, r.raw)) <= $2 THEN coalesce(own.payload, r.raw) END AS raw,
       CASE WHEN own.payload IS NULL THEN coalesce(r.flags, '{}') ELSE '{}' END AS flags
FROM (
    (SELECT message_id, received_at, payload FROM crossdock.outbox WHERE id = $1)
    UNION ALL
    (SELECT message_id, received_at, payload FROM crossdock.finished WHERE id = $1)
    LIMIT 1
) own
LEFT JOIN LATERAL (
    SELECT raw, flags FROM crossdock.receipts
    WHERE received_at = own.received_at AND message_id = own.message_id
    LIMIT 1
) r ON true
