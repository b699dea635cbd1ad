-- name: missing_partitions
-- Which of the tables $1 have no partition for which of the months that begin at $2, month by month.
SELECT parent, month
FROM unnest($2::timestamptz[]) WITH ORDINALITY AS m (month, position)
CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS p (parent, place)
WHERE to_regclass(format('crossdock.%I', parent || to_char(month AT TIME ZONE 'UTC', '"_"YYYY"_"MM'))) IS NULL
ORDER BY m.position, p.place

-- name: make_partition
-- Creates the partition of the table $1 for the month that begins at $2. Returns true if it was created.
SELECT crossdock.make_partition($1, $2)

-- name: drop_partition
SELECT crossdock.drop_partition($1)

-- name: partitions_before
-- The partitions of the table $1 that hold only months before $2.
SELECT crossdock.partitions_before($1, $2)

-- name: stray_months
-- Months of rows that are outside any month's partition; usually there are none.
SELECT DISTINCT date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS month
FROM (
    SELECT received_at AS moment FROM crossdock.receipts_default
    UNION ALL
    SELECT received_at FROM crossdock.versions_default
    UNION ALL
    SELECT received_at FROM crossdock.identifiers_default
    UNION ALL
    SELECT finished_at FROM crossdock.finished_default
    UNION ALL
    SELECT at FROM crossdock.attempts_default
) strays
ORDER BY 1
LIMIT 24

-- name: id_range
SELECT ARRAY[coalesce(min(id), 0), coalesce(max(id), -1)] FROM crossdock.documents

-- name: forget_documents
-- Deletes the documents of an id range whose newest version is dropped with its month, and the rows that depend on
-- them. A document that is being written right now is skipped and checked again later: waiting for it, in another order
-- than the writers, could cause a deadlock.
WITH gone AS (
    DELETE FROM crossdock.documents
    WHERE id IN (
        SELECT id FROM crossdock.documents
        WHERE id BETWEEN $1 AND $2 AND received_at < $3
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
), records AS (
    DELETE FROM crossdock.allocation_records WHERE document_id IN (SELECT id FROM gone)
), items AS (
    DELETE FROM crossdock.allocated_items WHERE document_id IN (SELECT id FROM gone)
), contents AS (
    DELETE FROM crossdock.erased_contents WHERE document_id IN (SELECT id FROM gone)
), erasing AS (
    DELETE FROM crossdock.erasing WHERE document_id IN (SELECT id FROM gone)
)
SELECT count(*) FROM gone

-- name: documents_left
SELECT EXISTS (SELECT FROM crossdock.documents WHERE id BETWEEN $1 AND $2 AND received_at < $3)

-- name: forget_stray_identifiers
DELETE FROM crossdock.identifiers_default
WHERE ctid = ANY (ARRAY(SELECT ctid FROM crossdock.identifiers_default WHERE received_at < $1 LIMIT $2))

-- name: forget_stray_receipts
DELETE FROM crossdock.receipts_default
WHERE (received_at, message_id) IN (
    SELECT received_at, message_id FROM crossdock.receipts_default WHERE received_at < $1 LIMIT $2
)

-- name: forget_stray_versions
DELETE FROM crossdock.versions_default
WHERE (id, received_at) IN (SELECT id, received_at FROM crossdock.versions_default WHERE received_at < $1 LIMIT $2)

-- name: forget_quarantined
DELETE FROM crossdock.quarantined
WHERE id IN (SELECT id FROM crossdock.quarantined WHERE received_at < $1 ORDER BY received_at, id LIMIT $2)

-- name: forget_stray_finished
DELETE FROM crossdock.finished_default
WHERE (id, finished_at) IN (SELECT id, finished_at FROM crossdock.finished_default WHERE finished_at < $1 LIMIT $2)

-- name: forget_stray_attempts
DELETE FROM crossdock.attempts_default
WHERE (delivery_id, at) IN (SELECT delivery_id, at FROM crossdock.attempts_default WHERE at < $1 LIMIT $2)

-- name: forget_outbox
-- Pending deliveries whose body has been deleted can no longer be sent.
WITH gone AS (
    DELETE FROM crossdock.outbox
    WHERE id IN (SELECT id FROM crossdock.outbox WHERE received_at < $1 LIMIT $2)
    RETURNING *
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'failed', payload
FROM gone

-- name: forget_idempotent
-- Answers to idempotent requests are kept for one day, as is usual for such APIs.
DELETE FROM crossdock.idempotent
WHERE (subscriber, name) IN (
    SELECT subscriber, name FROM crossdock.idempotent WHERE asked_at < $1::timestamptz - interval '1 day' LIMIT $2
)

-- name: forget_subscriptions
-- Subscriptions deleted before $1; their deliveries have been deleted as well.
DELETE FROM crossdock.subscribed
WHERE id IN (SELECT id FROM crossdock.subscribed WHERE deleted_at < $1 LIMIT $2)

-- name: forget_replays
-- Replays that ended before $1, and those that were requested before $1 and never ended.
DELETE FROM crossdock.replays
WHERE id IN (SELECT id FROM crossdock.replays WHERE coalesce(finished_at, created_at) < $1 LIMIT $2)

-- name: forget_polled
-- Deletes the known orders of accounts that have not been polled since $1, because they are no longer configured. The
-- position of such an account stays, one row each, so that polling continues there if the account returns.
DELETE FROM crossdock.polled
WHERE (platform, account, key) IN (
    SELECT o.platform, o.account, o.key
    FROM crossdock.polls p
    JOIN crossdock.polled o ON o.platform = p.platform AND o.account = p.account
    WHERE p.due_at < $1 AND (p.leased_until IS NULL OR p.leased_until < $1)
    LIMIT $2
)

-- name: forget_poll_limits
-- API clients without a request since $1. If one returns, it starts like a new client, which makes no difference.
DELETE FROM crossdock.poll_limits
WHERE client IN (SELECT client FROM crossdock.poll_limits WHERE next_at < $1 LIMIT $2)

-- name: forget_erasures
-- Requests to erase, and rounds by age, that began before $1.
DELETE FROM crossdock.erasures
WHERE id IN (SELECT id FROM crossdock.erasures WHERE requested_at < $1 AND finished_at IS NOT NULL LIMIT $2)

-- name: forget_actions
-- What operators did before $1.
DELETE FROM crossdock.actions
WHERE id IN (SELECT id FROM crossdock.actions WHERE at < $1 ORDER BY at, id LIMIT $2)

-- name: forget_jobs
-- Jobs that operators started before $1.
DELETE FROM crossdock.jobs
WHERE id IN (SELECT id FROM crossdock.jobs WHERE created_at < $1 ORDER BY created_at, id LIMIT $2)

-- name: forget_erased_events
-- Events about documents that retention has deleted; normally they are published within seconds.
DELETE FROM crossdock.erased_events
WHERE id IN (SELECT id FROM crossdock.erased_events WHERE erased_at < $1 ORDER BY erased_at, id LIMIT $2)

-- name: forget_repeated_records
-- Among consecutive records with the same content for the same version of an order (such as a page that was loaded
-- repeatedly), the first and the last are enough: they show since when the allocation has been the same, and that it
-- still holds. $1, $2: a range of document ids. Only records received before $3 are deleted, so that no message is
-- redelivered whose record is gone. A record that announced something to a manufacturer is never deleted.
DELETE FROM crossdock.allocation_records
WHERE (document_id, received_at, message_id) IN (
    SELECT document_id, received_at, message_id
    FROM (
        SELECT document_id, received_at, message_id, announced,
               lag(version_id) OVER w = version_id AND lag(items) OVER w = items
               AND lead(version_id) OVER w = version_id AND lead(items) OVER w = items AS is_within
        FROM crossdock.allocation_records
        WHERE document_id BETWEEN $1 AND $2
        WINDOW w AS (PARTITION BY document_id ORDER BY received_at, message_id)
    ) records
    WHERE is_within AND received_at < $3 AND coalesce(announced, '[]') = '[]'
)

-- name: forget_moments
DELETE FROM crossdock.moments
WHERE message_id IN (SELECT message_id FROM crossdock.moments WHERE received_at < $1 LIMIT $2)

-- name: forget_shipments
-- Shipments without any remaining carton. A shipment that a worker is using right now is left for the next run.
DELETE FROM crossdock.shipments
WHERE (shipment, account, type, platform) IN (
    SELECT s.shipment, s.account, s.type, s.platform
    FROM crossdock.shipments s
    WHERE s.changed_at < $1 AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(s.cartons) AS carton (key text)
        JOIN crossdock.documents d
            ON d.key = carton.key AND d.account = s.account AND d.type = s.type AND d.platform = s.platform)
    LIMIT $2
    FOR UPDATE OF s SKIP LOCKED
)
