-- name: note
-- Notes the documents whose newest version has changed, in the transaction that changes it.
INSERT INTO crossdock.transfer_changes (document_ids) VALUES ($1::bigint[])

-- name: has_changes
SELECT EXISTS (SELECT FROM crossdock.transfer_changes WHERE retry_at IS NULL OR retry_at <= now())

-- name: lock
-- One process at a time computes transfers, so that an older computation never replaces a newer one. The lock ends with
-- the transaction, and the statements after this one see everything that the holder before has committed.
SELECT pg_try_advisory_xact_lock($1)

-- name: take_changes
-- Deletes the oldest changes, of about $1 documents in all, and returns their documents; null if there are none. They are
-- deleted together with the computation or not at all.
WITH taken AS (
    DELETE FROM crossdock.transfer_changes
    WHERE id IN (
        SELECT id
        FROM (
            SELECT id, sum(cardinality(document_ids)) OVER (ORDER BY id) - cardinality(document_ids) AS documents_before
            FROM (
                SELECT id, document_ids
                FROM crossdock.transfer_changes
                WHERE retry_at IS NULL OR retry_at <= now()
                ORDER BY id
                LIMIT $1
            ) oldest
        ) piece
        WHERE documents_before < $1
    )
    RETURNING document_ids
)
SELECT array_agg(DISTINCT document_id)
FROM taken
CROSS JOIN LATERAL unnest(document_ids) document_id

-- name: postpone
-- Leaves the oldest change alone for the time $1.
UPDATE crossdock.transfer_changes
SET retry_at = now() + $1::interval
WHERE id = (
    SELECT id FROM crossdock.transfer_changes WHERE retry_at IS NULL OR retry_at <= now() ORDER BY id LIMIT 1
)

-- name: settings
-- A transfer of a million cartons takes longer than other statements may. Indexes are used also in a plan that was made
-- while the tables were nearly empty, and is kept while they grow. It is made once per connection, because planning takes
-- 20 ms, ten times as long as computing a few transfers.
SET LOCAL statement_timeout = '10min';
SET LOCAL enable_seqscan = off;
SET LOCAL plan_cache_mode = force_generic_plan

-- name: affected
-- The transfers that these documents are, belong to or belonged to: ids of transfer orders.
SELECT array_agg(transfer_id) FROM crossdock.transfers_of_documents($1::bigint[]) transfer_id

-- name: refresh
-- Computes the transfers of these transfer orders anew, and returns the number of those that are different now. Ids of
-- other documents are ignored.
WITH changed AS (
    INSERT INTO crossdock.transfer_states AS s
    SELECT * FROM crossdock.compute_transfers($1::bigint[])
    ON CONFLICT (document_id) DO UPDATE
    SET (account, channel_order_id, purchase_order_number, ship_from, ship_to, ordered, shipped, announced, received,
         damaged, outstanding, missing, cartons, state, due_at, placed_at, last_activity_at, flags)
      = (excluded.account, excluded.channel_order_id, excluded.purchase_order_number, excluded.ship_from,
         excluded.ship_to, excluded.ordered, excluded.shipped, excluded.announced, excluded.received, excluded.damaged,
         excluded.outstanding, excluded.missing, excluded.cartons, excluded.state, excluded.due_at, excluded.placed_at,
         excluded.last_activity_at, excluded.flags)
    WHERE (s.account, s.channel_order_id, s.purchase_order_number, s.ship_from, s.ship_to, s.ordered, s.shipped,
           s.announced, s.received, s.damaged, s.outstanding, s.missing, s.cartons, s.state, s.due_at, s.placed_at,
           s.last_activity_at, s.flags)
          IS DISTINCT FROM
          (excluded.account, excluded.channel_order_id, excluded.purchase_order_number, excluded.ship_from,
           excluded.ship_to, excluded.ordered, excluded.shipped, excluded.announced, excluded.received,
           excluded.damaged, excluded.outstanding, excluded.missing, excluded.cartons, excluded.state, excluded.due_at,
           excluded.placed_at, excluded.last_activity_at, excluded.flags)
    RETURNING 1
)
SELECT count(*) FROM changed

-- name: fill_next
-- The next $1 documents of the pass under way, and the range of ids that they stand for: all that is left, if there are
-- no more documents. No row if no pass is under way.
SELECT p.ids, f.next_id AS first_id, coalesce(p.ids[cardinality(p.ids)], f.last_id) AS last_id
FROM crossdock.transfer_fill f
CROSS JOIN LATERAL (
    SELECT array_agg(id ORDER BY id) AS ids
    FROM (SELECT id FROM crossdock.documents WHERE id BETWEEN f.next_id AND f.last_id ORDER BY id LIMIT $1) piece
) p
WHERE f.finished_at IS NULL

-- name: fill_forget
-- Deletes transfers of these ids whose order is not stored any more.
DELETE FROM crossdock.transfer_states s
WHERE s.document_id BETWEEN $1 AND $2 AND NOT EXISTS (SELECT FROM crossdock.documents d WHERE d.id = s.document_id)

-- name: fill_continue
UPDATE crossdock.transfer_fill SET next_id = $1

-- name: fill_finish
UPDATE crossdock.transfer_fill SET next_id = last_id + 1, finished_at = now()

-- name: fill_again
-- Begins another pass, if the last one ended more than $1 ago.
UPDATE crossdock.transfer_fill
SET next_id = 1, last_id = (SELECT coalesce(max(id), 0) FROM crossdock.documents), finished_at = NULL
WHERE finished_at < now() - $1::interval

-- name: late
-- The number of late transfers by account, and since when the oldest is late.
SELECT account, count(*) AS transfers, extract(epoch FROM now() - min(due_at))::float8 AS longest_seconds
FROM crossdock.transfers
WHERE late
GROUP BY account
ORDER BY account

-- name: progress
-- How far the table is behind the documents, in seconds; and which part of what was stored before the upgrade is in it,
-- from 0 to 1.
SELECT coalesce((SELECT greatest(extract(epoch FROM now() - min(noted_at)), 0)
                 FROM crossdock.transfer_changes), 0)::float8 AS behind_seconds,
       coalesce((SELECT CASE WHEN finished_at IS NULL AND last_id > 0
                             THEN least((next_id - 1)::float8 / last_id, 1) ELSE 1 END
                 FROM crossdock.transfer_fill), 1) AS filled
