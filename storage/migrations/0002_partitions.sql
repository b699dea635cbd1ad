-- Months of receipts and versions. A default partition takes what has no month, so that nothing is ever refused for
-- want of one; making that month later moves those rows into it.

CREATE TABLE crossdock.receipts_default PARTITION OF crossdock.receipts DEFAULT;
CREATE TABLE crossdock.versions_default PARTITION OF crossdock.versions DEFAULT;

-- Bodies of up to a page stay in their row and unpacked where packing would be pglz's, which takes longer than writing
-- them; lz4 is fast enough to be worth it. A partitioned table can't say so for its partitions.
CREATE FUNCTION crossdock.lay_out(partition text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        EXECUTE format('ALTER TABLE crossdock.%I SET (toast_tuple_target = 8160)', partition);
    END IF;
END
$$;
SELECT crossdock.lay_out('receipts_default'), crossdock.lay_out('versions_default');

-- Makes the partition of `parent` for the month (UTC) that holds `moment`; false if it is there already.
CREATE FUNCTION crossdock.make_partition(parent text, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    month_start timestamptz := date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    month_end   timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    partition   text        := parent || to_char(moment AT TIME ZONE 'UTC', '"_"YYYY"_"MM');
BEGIN
    IF to_regclass(format('crossdock.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Everyone who comes now waits here, at the parent, before choosing or locking a partition: so the default partition
    -- is free when it is needed below, and nobody can wait in a circle. Two makers come one after the other.
    EXECUTE format('LOCK TABLE ONLY crossdock.%I IN ACCESS EXCLUSIVE MODE', parent);
    IF to_regclass(format('crossdock.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE crossdock.%I (LIKE crossdock.%I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)',
        partition, parent);
    PERFORM crossdock.lay_out(partition);
    EXECUTE format(
        'WITH moved AS (DELETE FROM crossdock.%I WHERE received_at >= %L AND received_at < %L RETURNING *) '
        'INSERT INTO crossdock.%I SELECT * FROM moved', parent || '_default', month_start, month_end, partition);
    EXECUTE format(
        'ALTER TABLE crossdock.%I ATTACH PARTITION crossdock.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition, month_start, month_end);
    RETURN true;
END
$$;

-- The monthly partitions of `parent` that end at or before `moment`: names, oldest first.
CREATE FUNCTION crossdock.partitions_before(parent text, moment timestamptz) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT child.relname::text
    FROM pg_inherits
    JOIN pg_class child ON child.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = format('crossdock.%I', parent)::regclass
      AND child.relname ~ ('^' || parent || '_[0-9]{4,}_[0-9]{2}$')
      AND (to_date(right(child.relname, 7), 'YYYY_MM')::timestamp + interval '1 month') AT TIME ZONE 'UTC' <= moment
    ORDER BY child.relname
$$;
