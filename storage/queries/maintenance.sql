-- name: make_partition
-- True if it made one.
SELECT crossdock.make_partition($1, $2)

-- name: partitions_before
SELECT crossdock.partitions_before($1, $2)

-- name: drop_documents
-- Business keys whose newest version is gone with its partition, a bounded number at a time.
DELETE FROM crossdock.documents
WHERE id IN (
    SELECT id FROM crossdock.documents WHERE last_received_at < $1 ORDER BY id LIMIT $2
)
