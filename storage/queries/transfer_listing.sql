-- name: late
-- At most $6 late transfers, the longest first, after the place ($4, $5): of the account $1, from or to the location $2, in
-- the state $3; null matches any.
SELECT document_id, 'channelape' AS platform, account, 'channelape.stock_transfer_order' AS type, channel_order_id,
       purchase_order_number, ship_from, ship_to, ordered, shipped, announced, received, damaged, outstanding, cartons,
       state, due_at, true AS late, placed_at, last_activity_at, flags
FROM crossdock.transfer_states
WHERE missing > 0 AND due_at < now()
  AND ($1::text IS NULL OR account = $1)
  AND ($2::text IS NULL OR ship_from = $2 OR ship_to = $2)
  AND ($3::text IS NULL OR state = $3)
  AND ($4::timestamptz IS NULL OR (due_at, document_id) > ($4, $5::bigint))
ORDER BY due_at, document_id
LIMIT $6

-- name: others
-- At most $6 transfers that are not late, the newest activity first, after the place ($4, $5); filters as in `late`. $7:
-- whether a line must lack something.
SELECT document_id, 'channelape' AS platform, account, 'channelape.stock_transfer_order' AS type, channel_order_id,
       purchase_order_number, ship_from, ship_to, ordered, shipped, announced, received, damaged, outstanding, cartons,
       state, due_at, false AS late, placed_at, last_activity_at, flags
FROM crossdock.transfer_states
WHERE NOT (missing > 0 AND due_at IS NOT NULL AND due_at < now())
  AND ($1::text IS NULL OR account = $1)
  AND ($2::text IS NULL OR ship_from = $2 OR ship_to = $2)
  AND ($3::text IS NULL OR state = $3)
  AND ($4::timestamptz IS NULL OR (last_activity_at, document_id) < ($4, $5::bigint))
  AND ($7::boolean IS NOT TRUE OR missing > 0)
ORDER BY last_activity_at DESC, document_id DESC
LIMIT $6

-- name: disagreements
-- At most $6 transfers whose documents disagree, late or not, the newest activity first; place and filters as in `others`.
SELECT document_id, 'channelape' AS platform, account, 'channelape.stock_transfer_order' AS type, channel_order_id,
       purchase_order_number, ship_from, ship_to, ordered, shipped, announced, received, damaged, outstanding, cartons,
       state, due_at, missing > 0 AND due_at IS NOT NULL AND due_at < now() AS late, placed_at, last_activity_at, flags
FROM crossdock.transfer_states
WHERE flags <> '{}'
  AND ($1::text IS NULL OR account = $1)
  AND ($2::text IS NULL OR ship_from = $2 OR ship_to = $2)
  AND ($3::text IS NULL OR state = $3)
  AND ($4::timestamptz IS NULL OR (last_activity_at, document_id) < ($4, $5::bigint))
ORDER BY last_activity_at DESC, document_id DESC
LIMIT $6

-- name: get
-- The transfer of the order $2, of the account $1 or, if that is null, of any: at most two, so that it is known whether
-- the account must be given.
SELECT document_id, 'channelape' AS platform, account, 'channelape.stock_transfer_order' AS type, channel_order_id,
       purchase_order_number, ship_from, ship_to, ordered, shipped, announced, received, damaged, outstanding, cartons,
       state, due_at, missing > 0 AND due_at IS NOT NULL AND due_at < now() AS late, placed_at, last_activity_at, flags
FROM crossdock.transfer_states
WHERE channel_order_id = $2 AND ($1::text IS NULL OR account = $1)
LIMIT 2

-- name: counts
-- `account`: the accounts that have transfers, at most $3, with how many of each are late, counted up to $4.
-- `state`: of the $5 transfers with the newest activity, how many are in each state; of the account $1, from or to the
-- location $2.
WITH RECURSIVE accounts AS (
    (SELECT account, 1 AS place FROM crossdock.transfer_states ORDER BY account LIMIT 1)
    UNION ALL
    SELECT (SELECT s.account FROM crossdock.transfer_states s WHERE s.account > a.account ORDER BY s.account LIMIT 1),
           a.place + 1
    FROM accounts a
    WHERE a.account IS NOT NULL AND a.place < $3
)
SELECT 'account' AS kind, a.account AS name, late.transfers
FROM accounts a
CROSS JOIN LATERAL (
    SELECT count(*) AS transfers
    FROM (SELECT FROM crossdock.transfer_states s
          WHERE s.account = a.account AND s.missing > 0 AND s.due_at < now() LIMIT $4) counted
) late
WHERE a.account IS NOT NULL
UNION ALL
SELECT 'state', state, count(*)
FROM (
    SELECT state
    FROM crossdock.transfer_states
    WHERE ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR ship_from = $2 OR ship_to = $2)
    ORDER BY last_activity_at DESC
    LIMIT $5
) newest
GROUP BY state

-- name: documents
-- The documents of the transfer order $1, at most $2, with what its lines are called (at most $3 names of each document),
-- whether its direction is the reverse of the order's, and whether it says that less arrived than it names.
WITH linked AS (
    SELECT d.id, d.platform, d.account, d.type, d.key, d.version, d.version_id, d.received_at, d.last_received_at,
           crossdock.flipped(d.ship_from, d.ship_to, sto.ship_from, sto.ship_to) AS is_flipped
    FROM crossdock.documents sto
    CROSS JOIN LATERAL (
        (SELECT * FROM crossdock.documents d
         WHERE d.order_ref = sto.key AND d.account = sto.account AND d.id <> sto.id
         LIMIT $2)
        UNION ALL
        (SELECT * FROM crossdock.documents d
         WHERE d.warehouse_ref = sto.warehouse_ref AND num_nulls(d.order_ref) = 1 AND d.account = sto.account
           AND d.id <> sto.id
         LIMIT $2)
    ) d
    WHERE sto.id = $1
    LIMIT $2
)
SELECT linked.id, linked.platform, linked.account, linked.type, linked.key, linked.version, linked.received_at,
       linked.last_received_at, linked.is_flipped, v.flags, coalesce(line.names, '{}') AS names,
       coalesce(line.is_short, false) AS is_short
FROM linked
CROSS JOIN LATERAL (
    SELECT v.flags, v.lines FROM crossdock.versions v
    WHERE v.id = linked.version_id AND v.received_at = linked.received_at
    OFFSET 0
) v
LEFT JOIN LATERAL (
    SELECT array_agg(l.id) FILTER (WHERE l.id IS NOT NULL) || array_agg(l.article) FILTER (WHERE l.article IS NOT NULL)
               AS names,
           bool_or(l.received < l.quantity) AS is_short
    FROM (SELECT * FROM crossdock.lines(v.lines) ORDER BY place LIMIT $3) l
) line ON true
ORDER BY linked.received_at DESC, linked.id DESC
