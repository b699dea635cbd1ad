-- Actions on many things that are worked off piece by piece (storage/jobs.py).

-- name: create
-- A form that is sent twice has the same id, and starts one job.
INSERT INTO crossdock.jobs (
    id, operator, role, address, action, subject, note, filter, total, is_exact, try_first
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
RETURNING true

-- name: exists
SELECT EXISTS (SELECT FROM crossdock.jobs WHERE id = $1)

-- name: open
-- The jobs that are not finished, those first that were not worked on for the longest time.
SELECT id FROM crossdock.jobs WHERE finished_at IS NULL ORDER BY touched_at, id LIMIT $1

-- name: take
-- A job, for the process that takes its lock until its transaction ends. The row itself is not locked, so that an
-- operator can ask for its stop meanwhile.
SELECT id, created_at, operator, role, address, action, subject, note, filter::text AS filter, total, is_exact, done,
       failed, problem, waits, after_at, after_id, try_first, tried_id, tried_attempts, tried_at, touched_at, stop_asked,
       finished_at, outcome, now() AS now
FROM crossdock.jobs
WHERE id = $1 AND finished_at IS NULL

-- name: lock
SELECT pg_try_advisory_xact_lock(hashtextextended('crossdock job ' || $1::text, 0))

-- name: advance
UPDATE crossdock.jobs
SET done = done + $2, failed = failed + $3, problem = coalesce($4, problem), waits = NULL, after_at = $5,
    after_id = $6, touched_at = now()
WHERE id = $1

-- name: try
-- Remembers the delivery $2 that is tried first; null if the next one is to be tried.
UPDATE crossdock.jobs SET tried_id = $2, tried_attempts = $3, tried_at = now(), touched_at = now() WHERE id = $1

-- name: go_on
-- The delivery that was tried first has arrived.
UPDATE crossdock.jobs SET try_first = false, waits = NULL, touched_at = now() WHERE id = $1

-- name: wait
-- Why the job does not go on at present.
UPDATE crossdock.jobs SET waits = $2, touched_at = now() WHERE id = $1 AND finished_at IS NULL

-- name: stop
UPDATE crossdock.jobs SET stop_asked = true
WHERE id = $1 AND finished_at IS NULL
RETURNING action

-- name: stop_asked
SELECT stop_asked FROM crossdock.jobs WHERE id = $1

-- name: finish
UPDATE crossdock.jobs
SET finished_at = now(), touched_at = now(), outcome = $2, problem = coalesce($3, problem), waits = NULL
WHERE id = $1 AND finished_at IS NULL
RETURNING done, failed, problem

-- name: running
SELECT id, created_at, operator, role, address, action, subject, note, filter::text AS filter, total, is_exact, done,
       failed, problem, waits, after_at, after_id, try_first, tried_id, tried_attempts, tried_at, touched_at, stop_asked,
       finished_at, outcome, now() AS now
FROM (SELECT * FROM crossdock.jobs WHERE finished_at IS NULL OFFSET 0) unfinished
ORDER BY created_at, id
LIMIT $1

-- name: newest
SELECT id, created_at, operator, role, address, action, subject, note, filter::text AS filter, total, is_exact, done,
       failed, problem, waits, after_at, after_id, try_first, tried_id, tried_attempts, tried_at, touched_at, stop_asked,
       finished_at, outcome, now() AS now
FROM crossdock.jobs
ORDER BY created_at DESC, id DESC
LIMIT $1
