-- name: bounds
-- The lowest and the highest document id, or null.
SELECT min(id) AS first, max(id) AS last FROM crossdock.documents

-- name: holding
-- The newest $7 documents that were filed under keys of a number, and as many under those of an article. $1 and $2 are the
-- keys of both in the newest bucket, $3 and $4 in some before it, and $5 and $6 in all others: the later ones are looked
-- up only where the earlier ones have led to fewer.
(SELECT 'n' AS kind, document_id, received_at
 FROM (
    (SELECT document_id, max(received_at) AS received_at
     FROM crossdock.identifiers
     WHERE keys && $1::bigint[]
     GROUP BY document_id
     ORDER BY max(received_at) DESC, document_id DESC
     LIMIT $7)
    UNION ALL
    (SELECT document_id, max(received_at) AS received_at
     FROM crossdock.identifiers
     WHERE keys && $3::bigint[]
     GROUP BY document_id
     ORDER BY max(received_at) DESC, document_id DESC
     LIMIT $7)
    UNION ALL
    (SELECT document_id, max(received_at) AS received_at
     FROM crossdock.identifiers
     WHERE keys && $5::bigint[]
     GROUP BY document_id
     ORDER BY max(received_at) DESC, document_id DESC
     LIMIT $7)
 ) windows
 LIMIT $7)
UNION ALL
(SELECT 'a' AS kind, document_id, received_at
 FROM (
    (SELECT document_id, max(received_at) AS received_at
     FROM crossdock.identifiers
     WHERE keys && $2::bigint[]
     GROUP BY document_id
     ORDER BY max(received_at) DESC, document_id DESC
     LIMIT $7)
    UNION ALL
    (SELECT document_id, max(received_at) AS received_at
     FROM crossdock.identifiers
     WHERE keys && $4::bigint[]
     GROUP BY document_id
     ORDER BY max(received_at) DESC, document_id DESC
     LIMIT $7)
    UNION ALL
    (SELECT document_id, max(received_at) AS received_at
     FROM crossdock.identifiers
     WHERE keys && $6::bigint[]
     GROUP BY document_id
     ORDER BY max(received_at) DESC, document_id DESC
     LIMIT $7)
 ) windows
 LIMIT $7)

-- name: is_known
-- Whether a document has the text $1 as its key or as a number in its own row, or was filed under one of its keys in the
-- newest bucket ($2) or in some before it ($3). What is found first ends the search.
SELECT EXISTS (SELECT FROM crossdock.documents WHERE key = $1)
    OR EXISTS (SELECT FROM crossdock.documents WHERE order_number = $1)
    OR EXISTS (SELECT FROM crossdock.documents WHERE order_ref = $1)
    OR EXISTS (SELECT FROM crossdock.identifiers WHERE keys && $2::bigint[])
    OR EXISTS (SELECT FROM crossdock.identifiers WHERE keys && $3::bigint[])

-- name: move
-- Files what documents were merged from under the document that they are now.
UPDATE crossdock.identifiers SET document_id = $1 WHERE document_id = ANY ($2::bigint[])

-- name: merge
-- Merges what was filed lately into the index.
SELECT crossdock.merge_identifiers()

-- name: next_round
-- The round of indexing that is due, locked, unless another worker has locked it.
SELECT round, before_at, before_id
FROM crossdock.identifier_rounds
WHERE finished_at IS NULL AND due_at <= now()
ORDER BY round
LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: page
-- The receipts before a position, the newest first, and whether each begins a version that is not indexed. Once indexed,
-- a version stays so, even if it moves to an earlier receipt.
SELECT r.received_at, r.message_id, r.document_id, r.bytes, d.platform, d.key,
       d.id IS NOT NULL
       AND EXISTS (SELECT FROM crossdock.versions v
                   WHERE v.document_id = r.document_id AND v.received_at = r.received_at AND v.message_id = r.message_id)
       AND NOT EXISTS (SELECT FROM crossdock.identifiers i
                       WHERE i.document_id = r.document_id AND i.received_at = r.received_at) AS is_missing
FROM (
    SELECT received_at, message_id, document_id, length(raw) AS bytes
    FROM crossdock.receipts
    WHERE received_at <= $1 AND (received_at, message_id) < ($1, $2::uuid)
    ORDER BY received_at DESC, message_id DESC
    LIMIT $3
) r
LEFT JOIN crossdock.documents d ON d.id = r.document_id
ORDER BY r.received_at DESC, r.message_id DESC

-- name: save_round
-- The round goes on before this position.
UPDATE crossdock.identifier_rounds SET before_at = $2, before_id = $3 WHERE round = $1

-- name: finish_round
UPDATE crossdock.identifier_rounds SET finished_at = now() WHERE round = $1

-- name: incomplete_before
-- The time before which documents may not be indexed yet, or null.
SELECT before_at FROM crossdock.identifier_rounds WHERE round = 1 AND finished_at IS NULL
