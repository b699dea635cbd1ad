-- name: listing
SELECT name, types, accounts, max_messages, max_bytes, username, created_at FROM crossdock.consumers ORDER BY name

-- name: add
INSERT INTO crossdock.consumers (name, types, accounts, max_messages, max_bytes, username)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET username = coalesce(excluded.username, consumers.username)

-- name: remove
DELETE FROM crossdock.consumers WHERE name = $1
