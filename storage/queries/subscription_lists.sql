-- What operators see of subscriptions. Everything is bounded: what waits is counted up to a limit, in the order of an
-- index. Without an order PostgreSQL may scan the table, which is fast for a subscription for which much waits, and
-- endless for one for which nothing does.

-- name: overview
-- Subscriptions, newest first, starting before ($1, $2), at most $3. $4: their subscriber; $5: whether they are enabled;
-- null for all. $6: the limit of counting. $7: the number of outcomes. A delivery that waits has an outcome once it was
-- attempted: those wait for a time to come, or were due before all others. The newest one comes with its newest attempt,
-- and with the first attempt of those after the last that was delivered: since when nothing was.
SELECT s.id, s.subscriber, split_part(s.url, '?', 1) AS url, s.types, s.accounts, s.dialect, s.webhook_type,
       s.schedule, s.max_rate, s.max_in_flight, s.filter, s.payload, s.enabled, s.disabled_reason, s.disabled_at, s.enabled_at,
       s.paused_until, s.created_at, s.updated_at, w.waiting, due.next_attempt_at, strip.outcomes,
       a.at, a.outcome, a.status_code, a.error, a.response, first.failing_since
FROM (
    SELECT * FROM crossdock.subscribed
    WHERE deleted_at IS NULL AND (created_at, id) < ($1::timestamptz, $2::uuid)
      AND ($4::text IS NULL OR subscriber = $4) AND ($5::boolean IS NULL OR enabled = $5)
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) s
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting
    FROM (
        SELECT FROM crossdock.outbox WHERE subscription_id = s.id ORDER BY created_at LIMIT $6
    ) found
) w
LEFT JOIN LATERAL (
    SELECT next_attempt_at FROM crossdock.outbox
    WHERE subscription_id = s.id
    ORDER BY next_attempt_at, id
    LIMIT 1
) due ON true
CROSS JOIN LATERAL (
    SELECT array_agg(newest.status ORDER BY newest.created_at, newest.id) AS outcomes,
           array_agg(newest.id ORDER BY newest.created_at, newest.id) AS ids,
           array_agg(newest.created_at ORDER BY newest.created_at, newest.id) AS times,
           (array_agg(newest.id ORDER BY newest.created_at DESC, newest.id DESC)
            FILTER (WHERE newest.attempts > 0))[1] AS newest_id,
           max(newest.created_at) FILTER (WHERE newest.attempts > 0) AS newest_at
    FROM (
        (SELECT status, created_at, id, attempts FROM crossdock.finished
         WHERE subscription_id = s.id
         ORDER BY created_at DESC, id DESC
         LIMIT $7)
        UNION ALL
        (SELECT 'retrying', created_at, id, attempts
         FROM (
             (SELECT attempts, created_at, id FROM crossdock.outbox
              WHERE subscription_id = s.id
              ORDER BY next_attempt_at DESC, id DESC
              LIMIT $7)
             UNION
             (SELECT attempts, created_at, id FROM crossdock.outbox
              WHERE subscription_id = s.id
              ORDER BY next_attempt_at, id
              LIMIT $7)
         ) waiting
         WHERE attempts > 0
         LIMIT $7)
        ORDER BY created_at DESC, id DESC
        LIMIT $7
    ) newest
) strip
LEFT JOIN LATERAL (
    SELECT at, outcome, status_code, left(error, 300) AS error, substr(response, 1, 200) AS response
    FROM crossdock.attempts
    WHERE delivery_id = strip.newest_id AND at >= strip.newest_at - interval '1 day'
    ORDER BY at DESC
    LIMIT 1
) a ON true
LEFT JOIN LATERAL (
    SELECT b.at AS failing_since
    FROM unnest(strip.ids, strip.times) WITH ORDINALITY AS i (id, created_at, n)
    CROSS JOIN LATERAL (SELECT at FROM crossdock.attempts
                        WHERE delivery_id = i.id AND at >= i.created_at - interval '1 day'
                        ORDER BY at
                        LIMIT 1) b
    WHERE i.n > (SELECT coalesce(max(o.n), 0) FROM unnest(strip.outcomes) WITH ORDINALITY AS o (status, n)
                 WHERE o.status = 'delivered')
    ORDER BY i.n
    LIMIT 1
) first ON true
ORDER BY s.created_at DESC, s.id DESC

-- name: one
-- A subscription as in `overview`, without what is counted.
SELECT id, subscriber, split_part(url, '?', 1) AS url, types, accounts, dialect, webhook_type, schedule, max_rate,
       max_in_flight, filter, payload, enabled, disabled_reason, disabled_at, enabled_at, paused_until, created_at, updated_at
FROM crossdock.subscribed
WHERE id = $1 AND deleted_at IS NULL

-- name: counts
-- What waits for a subscription ($1) and what failed, each counted up to $2, when the next attempt is due, and the
-- newest outcomes, at most $3, as in `overview`.
SELECT (SELECT count(*) FROM (SELECT FROM crossdock.outbox
                              WHERE subscription_id = $1
                              ORDER BY created_at
                              LIMIT $2) found) AS waiting,
       (SELECT count(*) FROM (SELECT FROM crossdock.finished
                              WHERE subscription_id = $1 AND status = 'failed' AND status <> 'delivered'
                              ORDER BY created_at
                              LIMIT $2) found) AS failed,
       (SELECT next_attempt_at FROM crossdock.outbox
        WHERE subscription_id = $1
        ORDER BY next_attempt_at, id
        LIMIT 1) AS next_attempt_at,
       strip.outcomes, a.at, a.outcome, a.status_code, a.error, a.response, first.failing_since
FROM (
    SELECT array_agg(newest.status ORDER BY newest.created_at, newest.id) AS outcomes,
           array_agg(newest.id ORDER BY newest.created_at, newest.id) AS ids,
           array_agg(newest.created_at ORDER BY newest.created_at, newest.id) AS times,
           (array_agg(newest.id ORDER BY newest.created_at DESC, newest.id DESC)
            FILTER (WHERE newest.attempts > 0))[1] AS newest_id,
           max(newest.created_at) FILTER (WHERE newest.attempts > 0) AS newest_at
    FROM (
        (SELECT status, created_at, id, attempts FROM crossdock.finished
         WHERE subscription_id = $1
         ORDER BY created_at DESC, id DESC
         LIMIT $3)
        UNION ALL
        (SELECT 'retrying', created_at, id, attempts
         FROM (
             (SELECT attempts, created_at, id FROM crossdock.outbox
              WHERE subscription_id = $1
              ORDER BY next_attempt_at DESC, id DESC
              LIMIT $3)
             UNION
             (SELECT attempts, created_at, id FROM crossdock.outbox
              WHERE subscription_id = $1
              ORDER BY next_attempt_at, id
              LIMIT $3)
         ) waiting
         WHERE attempts > 0
         LIMIT $3)
        ORDER BY created_at DESC, id DESC
        LIMIT $3
    ) newest
) strip
LEFT JOIN LATERAL (
    SELECT at, outcome, status_code, left(error, 300) AS error, substr(response, 1, 200) AS response
    FROM crossdock.attempts
    WHERE delivery_id = strip.newest_id AND at >= strip.newest_at - interval '1 day'
    ORDER BY at DESC
    LIMIT 1
) a ON true
LEFT JOIN LATERAL (
    SELECT b.at AS failing_since
    FROM unnest(strip.ids, strip.times) WITH ORDINALITY AS i (id, created_at, n)
    CROSS JOIN LATERAL (SELECT at FROM crossdock.attempts
                        WHERE delivery_id = i.id AND at >= i.created_at - interval '1 day'
                        ORDER BY at
                        LIMIT 1) b
    WHERE i.n > (SELECT coalesce(max(o.n), 0) FROM unnest(strip.outcomes) WITH ORDINALITY AS o (status, n)
                 WHERE o.status = 'delivered')
    ORDER BY i.n
    LIMIT 1
) first ON true

-- name: names
-- At most $1 subscriptions, by subscriber and URL.
SELECT id, subscriber, split_part(url, '?', 1) AS url
FROM crossdock.subscribed
WHERE deleted_at IS NULL
ORDER BY subscriber, url, id
LIMIT $1
