-- name: partitions
-- The partitions of versions with their number of pages, oldest first.
SELECT child.relname::text AS name,
       (pg_relation_size(child.oid) / current_setting('block_size')::int)::bigint AS pages
FROM pg_inherits
JOIN pg_class child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'crossdock.versions'::regclass
ORDER BY 1

-- name: is_incomplete
SELECT EXISTS (SELECT FROM crossdock.partition WHERE type IS NULL)

-- name: piece
-- Completes the versions on the pages from $1 up to $2 (exclusive). A version that a store worker changes right now is
-- skipped, because waiting for it could cause a deadlock. The body is removed where the receipt's bytes give the same
-- text, and never made, so that an erasure beside it stays complete. A version without a document, which no view
-- shows, gets empty texts.
WITH piece AS MATERIALIZED (
    SELECT v.id, v.received_at, v.message_id, v.document_id
    FROM crossdock.partition v
    WHERE v.ctid >= $1::text::tid AND v.ctid < $2::text::tid AND v.type IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE crossdock.partition v
SET platform = coalesce(d.platform, ''), account = coalesce(d.account, ''), type = coalesce(d.type, ''),
    body = CASE WHEN v.body::text = crossdock.body_of(r.raw)::text AND NOT v.flags && '{not_json,not_jsonb,erased}'
                THEN NULL ELSE v.body END
FROM piece
LEFT JOIN crossdock.documents d ON d.id = piece.document_id
LEFT JOIN crossdock.receipts r ON r.received_at = piece.received_at AND r.message_id = piece.message_id
WHERE v.id = piece.id AND v.received_at = piece.received_at
