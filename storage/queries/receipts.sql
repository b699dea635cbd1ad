-- name: newest
-- Receipts, the newest first, before the place ($1, $2) and between the times $3 and $4; of the account $5/$6, of the type
-- $7, with the flag $8. Null matches any. The filters $5 to $8 look through $9 receipts, and $10 are returned. The version
-- is that which the receipt began; null if it repeated one. OFFSET 0 keeps the planner from reading whole tables.
SELECT r.received_at, r.message_id, d.id AS document_id, d.platform, d.account, d.type, d.key, v.version,
       v.id AS event_id,
       r.flags || ARRAY(SELECT flag FROM unnest(v.flags) flag WHERE flag <> ALL (r.flags)) AS flags, r.size
FROM (
    SELECT received_at, message_id, document_id, flags, octet_length(raw) AS size
    FROM crossdock.receipts
    WHERE ($1::timestamptz IS NULL OR (received_at <= $1 AND (received_at, message_id) < ($1, $2::uuid)))
      AND ($3::timestamptz IS NULL OR received_at >= $3)
      AND ($4::timestamptz IS NULL OR received_at < $4)
    ORDER BY received_at DESC, message_id DESC
    LIMIT $9
) r
CROSS JOIN LATERAL (SELECT * FROM crossdock.documents d WHERE d.id = r.document_id OFFSET 0) d
LEFT JOIN LATERAL (
    SELECT v.version, v.id, v.flags FROM crossdock.versions v
    WHERE v.document_id = r.document_id AND v.received_at = r.received_at AND v.message_id = r.message_id
    OFFSET 0
) v ON true
WHERE ($5::text IS NULL OR d.platform = $5)
  AND ($6::text IS NULL OR d.account = $6)
  AND ($7::text IS NULL OR d.type = $7)
  AND ($8::text IS NULL OR $8 = ANY (r.flags) OR $8 = ANY (v.flags))
ORDER BY r.received_at DESC, r.message_id DESC
LIMIT $10

-- name: looked_back_to
-- The last of the $5 receipts that `newest` looks through; no row if there are fewer.
SELECT received_at, message_id
FROM crossdock.receipts
WHERE ($1::timestamptz IS NULL OR (received_at <= $1 AND (received_at, message_id) < ($1, $2::uuid)))
  AND ($3::timestamptz IS NULL OR received_at >= $3)
  AND ($4::timestamptz IS NULL OR received_at < $4)
ORDER BY received_at DESC, message_id DESC
OFFSET $5::bigint - 1
LIMIT 1

-- name: raw
SELECT raw, flags FROM crossdock.receipts WHERE received_at = $1 AND message_id = $2

-- name: senders
-- The accounts that sent something in the last weeks, at most $1: the table has a row per account and hour.
WITH RECURSIVE senders AS (
    (SELECT platform, account, 1 AS place FROM crossdock.arrivals ORDER BY platform, account LIMIT 1)
    UNION ALL
    SELECT a.platform, a.account, s.place + 1
    FROM senders s
    CROSS JOIN LATERAL (
        SELECT platform, account
        FROM crossdock.arrivals
        WHERE (platform, account) > (s.platform, s.account)
        ORDER BY platform, account
        LIMIT 1
    ) a
    WHERE s.place < $1
)
SELECT platform, account FROM senders
