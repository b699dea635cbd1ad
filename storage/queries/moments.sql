-- name: look
-- The database's clock, and whether any message has been filed under another time than its own.
SELECT clock_timestamp() AS now, EXISTS (SELECT FROM crossdock.moments) AS is_used

-- name: file
-- The times under which messages are filed: for each message the one that was chosen when it first arrived.
INSERT INTO crossdock.moments AS m (message_id, received_at)
SELECT message_id, received_at FROM unnest($1::uuid[], $2::timestamptz[]) AS n (message_id, received_at)
ORDER BY message_id
ON CONFLICT (message_id) DO UPDATE SET received_at = m.received_at
RETURNING m.message_id, m.received_at

-- name: filed
SELECT message_id, received_at FROM crossdock.moments WHERE message_id = ANY ($1::uuid[])
