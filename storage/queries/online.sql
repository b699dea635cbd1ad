-- name: partitioned
-- Whether a table is partitioned.
SELECT relkind = 'p' FROM pg_class WHERE oid = $1::text::regclass

-- name: missing_on
-- The partitions of table $1 that have no part of its index $2, oldest first.
SELECT child.relname::text AS name
FROM pg_inherits
JOIN pg_class child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = $1::text::regclass
  AND NOT EXISTS (SELECT FROM pg_index part JOIN pg_inherits attached ON attached.inhrelid = part.indexrelid
                  WHERE part.indrelid = child.oid AND attached.inhparent = $2::text::regclass)
ORDER BY 1

-- name: is_valid
-- Whether an index is complete; null if there is none.
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)
