-- Deliveries that a filter selects, for actions on many of them (storage/bulk.py). Each `walk_…` examines at most $10
-- deliveries in the order of an index, starting after ($8, $9), and returns a single row: how many it examined, the ids
-- of those that match with the times at which they ended, how many subscriptions they belong to, and where to go on.
-- The parameters are the same for all of them: $1 status, $2 subscription, $3 type, $4 account, $5 key, $6 since, $7
-- until. A null matches any value. An account is compared with a scalar subquery, because EXISTS may be hashed, which
-- would read all documents.

-- name: now
SELECT now()

-- name: walk_pending
-- Deliveries that wait.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, NULL::timestamptz AS finished_at, d.subscription_id,
           ($1::text IS NULL OR 'pending' = $1)
           AND ($2::uuid IS NULL OR d.subscription_id = $2)
           AND ($5::text IS NULL OR d.key = $5)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR d.created_at >= $6) AS matches
    FROM crossdock.outbox d
    WHERE d.created_at < $7
      AND ($8::timestamptz IS NULL OR (d.created_at, d.id) > ($8, $9::uuid))
    ORDER BY d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: walk_pending_of_subscription
-- Deliveries of a subscription that wait.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, NULL::timestamptz AS finished_at, d.subscription_id,
           ($1::text IS NULL OR 'pending' = $1)
           AND ($5::text IS NULL OR d.key = $5)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR d.created_at >= $6) AS matches
    FROM crossdock.outbox d
    WHERE d.subscription_id = $2
      AND d.created_at < $7
      AND ($8::timestamptz IS NULL OR (d.created_at, d.id) > ($8, $9::uuid))
    ORDER BY d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: walk_unsuccessful
-- Deliveries that ended without success. The status begins the place in the index, as in delivery_lists.sql.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, d.finished_at, d.subscription_id,
           ($2::uuid IS NULL OR d.subscription_id = $2)
           AND ($5::text IS NULL OR d.key = $5)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR d.finished_at >= $6)
           AND d.finished_at < $7 AS matches
    FROM crossdock.finished d
    WHERE (d.status, d.created_at, d.id) > ($1::text, coalesce($8::timestamptz, '-infinity'),
                                            coalesce($9::uuid, '00000000-0000-0000-0000-000000000000'))
      AND d.status <= $1 AND d.status <> 'delivered'
      AND d.created_at < $7
    ORDER BY d.status, d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: walk_unsuccessful_of_subscription
-- Deliveries of a subscription that ended without success.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, d.finished_at, d.subscription_id,
           ($5::text IS NULL OR d.key = $5)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR d.finished_at >= $6)
           AND d.finished_at < $7 AS matches
    FROM crossdock.finished d
    WHERE d.subscription_id = $2
      AND (d.status, d.created_at, d.id) > ($1::text, coalesce($8::timestamptz, '-infinity'),
                                            coalesce($9::uuid, '00000000-0000-0000-0000-000000000000'))
      AND d.status <= $1 AND d.status <> 'delivered'
      AND d.created_at < $7
    ORDER BY d.status, d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: walk_delivered
-- Deliveries that were successful, as nearly all are.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, d.finished_at, d.subscription_id,
           d.status = $1
           AND ($2::uuid IS NULL OR d.subscription_id = $2)
           AND ($5::text IS NULL OR d.key = $5)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR d.finished_at >= $6)
           AND d.finished_at < $7 AS matches
    FROM crossdock.finished d
    WHERE d.created_at < $7
      AND ($8::timestamptz IS NULL OR (d.created_at, d.id) > ($8, $9::uuid))
    ORDER BY d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: walk_delivered_of_subscription
-- Successful deliveries of a subscription.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, d.finished_at, d.subscription_id,
           d.status = $1
           AND ($5::text IS NULL OR d.key = $5)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR d.finished_at >= $6)
           AND d.finished_at < $7 AS matches
    FROM crossdock.finished d
    WHERE d.subscription_id = $2
      AND d.created_at < $7
      AND ($8::timestamptz IS NULL OR (d.created_at, d.id) > ($8, $9::uuid))
    ORDER BY d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: walk_of_key
-- Deliveries of a business key, pending or ended, which are few: they are read by the key, and then sorted.
WITH examined AS MATERIALIZED (
    SELECT d.id, d.created_at, d.finished_at, d.subscription_id,
           d.status = $1
           AND ($2::uuid IS NULL OR d.subscription_id = $2)
           AND ($3::text IS NULL OR d.type = $3)
           AND ($4::text IS NULL
                OR $4 = (SELECT o.platform || '/' || o.account FROM crossdock.documents o WHERE o.id = d.document_id))
           AND ($6::timestamptz IS NULL OR coalesce(d.finished_at, d.created_at) >= $6)
           AND coalesce(d.finished_at, d.created_at) < $7 AS matches
    FROM (SELECT * FROM crossdock.deliveries k WHERE k.key = $5 OFFSET 0) d
    WHERE d.created_at < $7
      AND ($8::timestamptz IS NULL OR (d.created_at, d.id) > ($8, $9::uuid))
    ORDER BY d.created_at, d.id
    LIMIT $10
)
SELECT count(*) AS examined,
       coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS ids,
       coalesce(array_agg(created_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS created_at,
       coalesce(array_agg(finished_at ORDER BY created_at, id) FILTER (WHERE matches), '{}') AS finished_at,
       count(DISTINCT subscription_id) FILTER (WHERE matches) AS subscriptions,
       (array_agg(created_at ORDER BY created_at DESC, id DESC))[1] AS last_at,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM examined

-- name: senders
-- The subscriber and the account of each of these deliveries. Their subscriptions are neither changed nor deleted until
-- the transaction ends.
WITH locked AS MATERIALIZED (
    SELECT s.id, s.subscriber, s.deleted_at IS NOT NULL AS is_gone
    FROM crossdock.subscribed s
    WHERE s.id IN (SELECT d.subscription_id FROM crossdock.deliveries d WHERE d.id = ANY ($1::uuid[]))
    ORDER BY s.id
    FOR SHARE
)
SELECT d.id, d.finished_at, l.subscriber, l.is_gone, o.platform || '/' || o.account AS account
FROM crossdock.deliveries d
JOIN locked l ON l.id = d.subscription_id
LEFT JOIN crossdock.documents o ON o.id = d.document_id
WHERE d.id = ANY ($1::uuid[])
ORDER BY d.finished_at DESC NULLS FIRST

-- name: all_due_now
UPDATE crossdock.outbox SET next_attempt_at = now() WHERE id = ANY ($1::uuid[]) RETURNING id

-- name: all_back_to_outbox
-- Finished deliveries become pending again and keep their numbers of attempts.
WITH back AS (
    DELETE FROM crossdock.finished f
    USING unnest($1::uuid[], $2::timestamptz[]) AS chosen (id, finished_at)
    WHERE f.id = chosen.id AND f.finished_at = chosen.finished_at
    RETURNING f.*
)
INSERT INTO crossdock.outbox (
    id, subscription_id, next_attempt_at, created_at, received_at, event_id, message_id, replay_id, document_id,
    version, attempts, type, key, payload
)
SELECT id, subscription_id, now(), created_at, received_at, event_id, message_id, replay_id, document_id, version,
       attempts, type, key, payload
FROM back
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: cancel_all
WITH gone AS (
    DELETE FROM crossdock.outbox WHERE id = ANY ($1::uuid[]) RETURNING *
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'cancelled', payload
FROM gone
RETURNING id

-- name: answer
-- What became of a delivery that is tried first: its status and attempts, its newest attempt, and the state of its
-- subscription.
SELECT d.status, d.attempts, a.outcome, a.status_code, s.enabled, s.paused_until
FROM crossdock.deliveries d
JOIN crossdock.subscribed s ON s.id = d.subscription_id
LEFT JOIN LATERAL (
    SELECT outcome, status_code FROM crossdock.attempts WHERE delivery_id = d.id ORDER BY at DESC LIMIT 1
) a ON true
WHERE d.id = $1
ORDER BY d.finished_at DESC NULLS FIRST
LIMIT 1
