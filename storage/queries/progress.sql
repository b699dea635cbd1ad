-- name: lines
-- The lines of the transfer order $2 of the account $1, in its own sequence, at most $3. `account || ''` keeps the planner
-- from looking up all orders of the account.
SELECT line_id, sku, ordered, shipped, announced, received, damaged, outstanding, cartons, first_shipped_at,
       last_received_at, flags
FROM crossdock.transfer_progress
WHERE channel_order_id = $2 AND account || '' = $1
LIMIT $3
