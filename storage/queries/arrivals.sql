-- name: add
-- Rows are written in the order of their key, as by every worker, because several workers update the same rows.
INSERT INTO crossdock.arrivals AS a (platform, account, hour, count, first_at, last_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
ORDER BY 1, 2, 3
ON CONFLICT (platform, account, hour) DO UPDATE
SET count = a.count + excluded.count, first_at = least(a.first_at, excluded.first_at),
    last_at = greatest(a.last_at, excluded.last_at)

-- name: forget
-- Counts that are too old at $1 to be used.
DELETE FROM crossdock.arrivals WHERE hour < $1::timestamptz - interval '15 days'

-- name: by_account
-- Covers two weeks. A pause lasts from the last message of one hour with messages to the first message of the next one.
WITH hours AS (
    SELECT *, extract(epoch FROM lead(first_at) OVER (PARTITION BY platform, account ORDER BY hour) - last_at) AS pause
    FROM crossdock.arrivals
    WHERE hour >= now() - interval '14 days'
)
SELECT platform, account, max(last_at) AS last_at, count(*) AS hours, sum(count)::bigint AS messages,
       coalesce(max(pause), 0)::float8 AS longest,
       coalesce(
           CASE WHEN sum(count) >= 2 * count(*)
                THEN sum(extract(epoch FROM last_at - first_at)) / (sum(count) - count(*))
                ELSE percentile_cont(0.5) WITHIN GROUP (ORDER BY pause::float8) END,
           0)::float8 AS usual,
       greatest(0, extract(epoch FROM now() - max(last_at)))::float8 AS since
FROM hours
GROUP BY platform, account
ORDER BY platform, account
