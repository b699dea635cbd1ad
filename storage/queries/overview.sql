-- name: counts
-- Numbers of what waits, failed and is disabled, and the accounts whose last poll failed. Nothing is counted beyond $1, if it is not null, so that a large
-- backlog costs no more than a small one; ages are those of the oldest all the same. $2: stages of the quarantine. $3:
-- maximum number of disabled subscriptions, those disabled last first. $4: maximum number of transfers whose documents
-- disagree, of the period $5 before now. A stage is compared with BETWEEN because with =
-- the order by stage would be dropped, and an index by time alone could be walked past everything ever replayed.
WITH sendable AS (
    SELECT id FROM crossdock.subscribed WHERE enabled AND (paused_until IS NULL OR paused_until <= now())
)
SELECT (SELECT count(*) FROM (SELECT FROM crossdock.outbox LIMIT $1::bigint) o) AS waiting,
       (SELECT count(*)
        FROM (SELECT FROM sendable s
              CROSS JOIN LATERAL (SELECT FROM crossdock.outbox
                                  WHERE subscription_id = s.id AND next_attempt_at <= now()
                                  ORDER BY next_attempt_at
                                  LIMIT $1) o
              LIMIT $1) due) AS due,
       (SELECT extract(epoch FROM now() - min(o.next_attempt_at))::float8
        FROM sendable s
        CROSS JOIN LATERAL (SELECT next_attempt_at FROM crossdock.outbox
                            WHERE subscription_id = s.id AND next_attempt_at <= now()
                            ORDER BY next_attempt_at
                            LIMIT 1) o) AS oldest_due_seconds,
       (SELECT count(*)
        FROM (SELECT FROM crossdock.finished
              WHERE status = 'failed' AND finished_at > now() - interval '1 day'
              LIMIT $1) f) AS failed_today,
       (SELECT count(*) FROM crossdock.subscribed WHERE deleted_at IS NULL) AS subscriptions,
       (SELECT count(*) FROM crossdock.subscribed WHERE deleted_at IS NULL AND NOT enabled) AS disabled,
       (SELECT array_agg(name ORDER BY name) FROM crossdock.consumers) AS consumers,
       quarantined.messages, quarantined.oldest_seconds, off.ids, off.subscribers, off.urls, off.reasons, off.times,
       polled.platforms, polled.accounts, polled.failures, polled.errors, polled.ok_times, polled.failed_times,
       polled.due_times, disagreeing.flags, disagreeing.transfers
FROM (
    SELECT array_agg(open.messages ORDER BY ordinality) AS messages,
           array_agg(open.oldest_seconds ORDER BY ordinality) AS oldest_seconds
    FROM unnest($2::text[]) WITH ORDINALITY AS stages (stage, ordinality)
    CROSS JOIN LATERAL (
        SELECT count(*) AS messages, extract(epoch FROM now() - min(received_at))::float8 AS oldest_seconds
        FROM (SELECT received_at FROM crossdock.quarantined
              WHERE stage BETWEEN stages.stage AND stages.stage AND replayed_at IS NULL AND discarded_at IS NULL
              ORDER BY stage, received_at
              LIMIT $1) q
    ) open
) quarantined
CROSS JOIN (
    SELECT array_agg(id) AS ids, array_agg(subscriber) AS subscribers, array_agg(split_part(url, '?', 1)) AS urls,
           array_agg(disabled_reason) AS reasons, array_agg(updated_at) AS times
    FROM (SELECT * FROM crossdock.subscribed
          WHERE deleted_at IS NULL AND NOT enabled
          ORDER BY updated_at DESC, id
          LIMIT $3) s
) off
CROSS JOIN (
    SELECT array_agg(platform) AS platforms, array_agg(account) AS accounts, array_agg(failures) AS failures,
           array_agg(last_error) AS errors, array_agg(last_ok_at) AS ok_times,
           array_agg(last_failed_at) AS failed_times, array_agg(due_at) AS due_times
    FROM (SELECT platform, account, failures, last_error, last_ok_at, last_failed_at, due_at FROM crossdock.polls
          WHERE failures > 0
          ORDER BY platform, account) p
) polled
CROSS JOIN (
    -- The empty flag stands for the transfer itself.
    SELECT array_agg(flag ORDER BY transfers DESC, flag) AS flags,
           array_agg(transfers ORDER BY transfers DESC, flag) AS transfers
    FROM (SELECT flag, count(*) AS transfers
          FROM (SELECT flags FROM crossdock.transfer_states
                WHERE flags <> '{}' AND last_activity_at > now() - $5::interval
                ORDER BY last_activity_at DESC
                LIMIT $4) t
          CROSS JOIN unnest(array_prepend('', t.flags)) AS flag
          GROUP BY flag) f
) disagreeing

-- name: refused
-- The $2 enabled subscriptions whose oldest delivery has waited for longest, if it is older than $1 and was tried. $3:
-- what their deliveries are counted to. Erased answers have no error any more.
SELECT s.id, s.subscriber, split_part(s.url, '?', 1) AS url,
       (SELECT count(*)
        FROM (SELECT FROM crossdock.outbox WHERE subscription_id = s.id LIMIT $3::bigint) o) AS waiting,
       s.attempts, extract(epoch FROM now() - s.created_at)::float8 AS oldest_seconds,
       last.outcome, last.status_code, last.error
FROM (
    SELECT s.id, s.subscriber, s.url, o.id AS delivery_id, o.attempts, o.created_at
    FROM crossdock.subscribed s
    CROSS JOIN LATERAL (SELECT id, attempts, created_at FROM crossdock.outbox
                        WHERE subscription_id = s.id
                        ORDER BY created_at  -- alone, as in its index: many may have the same time
                        LIMIT 1) o
    WHERE s.enabled AND s.deleted_at IS NULL AND o.attempts > 0 AND o.created_at < now() - $1::interval
    ORDER BY o.created_at
    LIMIT $2
) s
LEFT JOIN LATERAL (SELECT outcome, status_code, error FROM crossdock.attempts
                   WHERE delivery_id = s.delivery_id
                   ORDER BY at DESC
                   LIMIT 1) last ON true
ORDER BY s.created_at

-- name: late
-- The number of late transfers by account, and since when the oldest is late, among the $1 that have been late for
-- longest (null: all).
SELECT account, count(*) AS transfers, extract(epoch FROM now() - min(due_at))::float8 AS longest_seconds
FROM (SELECT account, due_at FROM crossdock.transfers WHERE late ORDER BY due_at LIMIT $1::bigint) t
GROUP BY account
ORDER BY account

-- name: history
-- Messages of each account in two weeks: of the last 24 hours, and in slots of $1 hours of which 0 is the last.
SELECT platform, account, coalesce(sum(messages) FILTER (WHERE hours_ago < 24), 0)::bigint AS day,
       array_agg(hours_ago / $1::integer) AS slots, array_agg(messages) AS counts
FROM (
    SELECT platform, account, greatest(floor(extract(epoch FROM now() - hour) / 3600), 0)::integer AS hours_ago,
           count AS messages
    FROM crossdock.arrivals
    WHERE hour >= now() - interval '14 days'
) h
GROUP BY platform, account

-- name: watermark
-- Changes with every transaction that has written something, and costs nothing: the same text means the same data.
SELECT pg_current_snapshot()::text
