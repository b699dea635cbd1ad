-- name: list
-- Messages, the newest first, at most $2. $1: whether to include those that were replayed or discarded.
SELECT id, platform, account, event, stage, attempts, reason, received_at, replayed_at, discarded_at,
       length(raw) AS bytes
FROM crossdock.quarantined
WHERE ($1 OR (replayed_at IS NULL AND discarded_at IS NULL))
  AND ($3::text IS NULL OR stage = $3)
  AND ($4::text IS NULL OR platform = $4)
  AND ($5::text IS NULL OR account = $5)
  AND ($6::text IS NULL OR position(lower($6) IN lower(reason)) > 0)
ORDER BY received_at DESC, id
LIMIT $2

-- name: show
SELECT id, platform, account, event, stage, attempts, reason, received_at, replayed_at, discarded_at, content_type,
       traceparent, raw
FROM crossdock.quarantined
WHERE id = $1

-- name: existing
SELECT id, length(raw) AS bytes FROM crossdock.quarantined WHERE id = ANY ($1::uuid[])

-- name: select_open
-- One page of the selected messages that need attention, oldest first, starting after ($5, $6).
SELECT id, received_at, length(raw) AS bytes
FROM crossdock.quarantined
WHERE replayed_at IS NULL AND discarded_at IS NULL
  AND ($1::text IS NULL OR stage = $1)
  AND ($2::text IS NULL OR platform = $2)
  AND ($3::text IS NULL OR account = $3)
  AND ($4::text IS NULL OR position(lower($4) IN lower(reason)) > 0)
  AND ($5::timestamptz IS NULL OR (received_at, id) > ($5, $6::uuid))
ORDER BY received_at, id
LIMIT $7

-- name: count_matching
SELECT count(*)
FROM crossdock.quarantined
WHERE replayed_at IS NULL AND discarded_at IS NULL
  AND ($1::text IS NULL OR stage = $1)
  AND ($2::text IS NULL OR platform = $2)
  AND ($3::text IS NULL OR account = $3)
  AND ($4::text IS NULL OR position(lower($4) IN lower(reason)) > 0)

-- name: lock
-- The rows stay locked until the broker has confirmed the messages: one that fails again in the meantime is put back
-- into quarantine after the commit. Nothing is left to send of an erased message. $2: whether to include messages that
-- were replayed or discarded.
SELECT id, platform, account, event, received_at, content_type, traceparent, routing_key, raw
FROM crossdock.quarantined
WHERE id = ANY ($1::uuid[]) AND ($2 OR (replayed_at IS NULL AND discarded_at IS NULL)) AND erased_at IS NULL
ORDER BY received_at, id
FOR UPDATE

-- name: all_replayed
UPDATE crossdock.quarantined SET replayed_at = now() WHERE id = ANY ($1::uuid[])

-- name: discard_all
UPDATE crossdock.quarantined SET discarded_at = now()
WHERE id = ANY ($1::uuid[]) AND discarded_at IS NULL
RETURNING id

-- name: by_stage
SELECT stage, count(*) AS messages, extract(epoch FROM now() - min(received_at))::float8 AS oldest_seconds
FROM crossdock.quarantined
WHERE replayed_at IS NULL AND discarded_at IS NULL
GROUP BY stage
