-- name: register
-- Polling of a new account starts at the present time.
INSERT INTO crossdock.polls (platform, account)
SELECT $1, unnest($2::text[])
ON CONFLICT DO NOTHING

-- name: lease
-- Due accounts without a lease, or with one of this worker's own that it stopped using without a release while the
-- database was unavailable. $3: worker. $4: seconds of the lease.
UPDATE crossdock.polls p SET leased_by = $3, leased_until = now() + make_interval(secs => $4)
FROM (
    SELECT platform, account FROM crossdock.polls
    WHERE platform = $1 AND account = ANY($2::text[]) AND due_at <= now()
      AND (leased_until IS NULL OR leased_until < now() OR leased_by = $3)
    ORDER BY due_at
    FOR UPDATE SKIP LOCKED
) due
WHERE p.platform = due.platform AND p.account = due.account
RETURNING p.account, p.cursor, p.reached, p.failures

-- name: renew
-- Extends the leases of the worker $3, to $4 seconds from now.
UPDATE crossdock.polls SET leased_until = now() + make_interval(secs => $4)
WHERE platform = $1 AND account = ANY($2::text[]) AND leased_by = $3 AND leased_until > now()
RETURNING account

-- name: hold
-- The first statement of every transaction of a poll; returns nothing if another worker has taken over the account.
SELECT 1 FROM crossdock.polls
WHERE platform = $1 AND account = $2 AND leased_by = $3
FOR UPDATE

-- name: known
SELECT key, digest FROM crossdock.polled WHERE platform = $1 AND account = $2

-- name: remember
INSERT INTO crossdock.polled (platform, account, key, digest)
SELECT $1, $2, * FROM unnest($3::bytea[], $4::bytea[])
ON CONFLICT (platform, account, key) DO UPDATE SET digest = EXCLUDED.digest

-- name: forget
DELETE FROM crossdock.polled WHERE platform = $1 AND account = $2 AND key = ANY($3::bytea[])

-- name: advance
-- Runs after a complete round: the cursor moves forward to where the previous round ended, never back.
UPDATE crossdock.polls SET cursor = GREATEST(cursor, reached), reached = GREATEST(reached, $3::timestamptz)
WHERE platform = $1 AND account = $2

-- name: release_ok
-- Ends a lease after a poll that succeeded; the next one is due in $4 seconds.
UPDATE crossdock.polls
SET leased_by = NULL, leased_until = NULL, due_at = now() + make_interval(secs => $4), failures = 0,
    last_ok_at = now(), last_error = NULL
WHERE platform = $1 AND account = $2 AND leased_by = $3

-- name: release_failed
UPDATE crossdock.polls
SET leased_by = NULL, leased_until = NULL, due_at = now() + make_interval(secs => $4), failures = failures + 1,
    last_error = $5, last_failed_at = now()
WHERE platform = $1 AND account = $2 AND leased_by = $3

-- name: release
-- Nothing was wrong with the account; it is due again after $4 seconds.
UPDATE crossdock.polls
SET leased_by = NULL, leased_until = NULL, due_at = now() + make_interval(secs => $4)
WHERE platform = $1 AND account = ANY($2::text[]) AND leased_by = $3

-- name: successes
-- When each account was last polled successfully. An account that never was counts from its registration.
SELECT account, COALESCE(last_ok_at, created_at) AS ok_at FROM crossdock.polls
WHERE platform = $1 AND account = ANY($2::text[])

-- name: reserve
-- Reserves the next request and returns the seconds until then (0 or less: at once). $2: seconds between requests. $3:
-- the number of requests that may follow each other at once after a pause.
INSERT INTO crossdock.poll_limits (client, next_at)
VALUES ($1, clock_timestamp() - make_interval(secs => $2::double precision * ($3::integer - 1)))
ON CONFLICT (client) DO UPDATE
SET next_at = GREATEST(
    poll_limits.next_at + make_interval(secs => $2::double precision),
    clock_timestamp() - make_interval(secs => $2::double precision * ($3::integer - 1))
)
RETURNING extract(epoch FROM next_at - clock_timestamp())::double precision

-- name: pause
-- The API asked the client to wait: no request may be sent within the next $2 seconds.
INSERT INTO crossdock.poll_limits (client, next_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (client) DO UPDATE SET next_at = GREATEST(poll_limits.next_at, EXCLUDED.next_at)
