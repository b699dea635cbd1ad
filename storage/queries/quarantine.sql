-- name: list
SELECT id, platform, account, event, reason, received_at, replayed_at, discarded_at, length(raw) AS bytes
FROM crossdock.quarantined
WHERE $1 OR (replayed_at IS NULL AND discarded_at IS NULL)
ORDER BY received_at DESC, id
LIMIT $2

-- name: show
SELECT id, platform, account, event, reason, received_at, replayed_at, discarded_at, content_type, traceparent, raw
FROM crossdock.quarantined
WHERE id = $1

-- name: open_ids
SELECT id FROM crossdock.quarantined WHERE replayed_at IS NULL AND discarded_at IS NULL ORDER BY received_at, id

-- name: replayed
UPDATE crossdock.quarantined SET replayed_at = now() WHERE id = $1

-- name: discard
UPDATE crossdock.quarantined SET discarded_at = now()
WHERE id = $1 AND discarded_at IS NULL
RETURNING id

-- name: count_open
SELECT count(*) FROM crossdock.quarantined WHERE replayed_at IS NULL AND discarded_at IS NULL
