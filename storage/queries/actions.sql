-- name: record
INSERT INTO crossdock.actions (operator, role, address, action, subject, count, note, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: listing
-- Newest first, starting before ($4, $5). A null matches any value.
SELECT id, at, operator, role, address, action, subject, count, note, outcome
FROM crossdock.actions
WHERE ($1::text IS NULL OR operator = $1)
  AND ($2::text IS NULL OR action = $2)
  AND ($3::text IS NULL OR subject = $3)
  AND ($4::timestamptz IS NULL OR (at, id) < ($4, $5::bigint))
ORDER BY at DESC, id DESC
LIMIT $6

-- name: use_link
-- Whether the link $1 is used for the first time. Used links are forgotten when they can no longer be valid.
WITH forgotten AS (
    DELETE FROM crossdock.login_links WHERE used_at < now() - interval '1 day'
)
INSERT INTO crossdock.login_links (id) VALUES ($1)
ON CONFLICT (id) DO NOTHING
RETURNING true
