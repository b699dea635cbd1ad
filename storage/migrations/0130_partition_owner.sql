-- Partitions are created and dropped by the store worker, whose role does not own any table (storage/roles.sql). These two
-- functions run as their owner, who owns the tables as well: on names that they check, and with a search path of their
-- own, so that nothing that a caller has created can take the place of what they call.

-- As in 0004, but as the owner, and for partitioned tables of this schema only.
CREATE OR REPLACE FUNCTION crossdock.make_partition(parent text, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month_start timestamptz := date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    month_end   timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    partition   text        := parent || to_char(moment AT TIME ZONE 'UTC', '"_"YYYY"_"MM');
    moment_of   text;
BEGIN
    SELECT attname INTO moment_of
    FROM pg_partitioned_table
    JOIN pg_class ON pg_class.oid = partrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
    WHERE nspname = 'crossdock' AND relname = parent;
    IF moment_of IS NULL THEN
        RAISE EXCEPTION 'crossdock.% is not a partitioned table', parent;
    END IF;
    IF to_regclass(format('crossdock.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- All other sessions wait here, at the parent, before they choose or lock a partition: the default partition is
    -- therefore free when it is needed below, and no sessions can wait for each other in a circle.
    EXECUTE format('LOCK TABLE ONLY crossdock.%I IN ACCESS EXCLUSIVE MODE', parent);
    IF to_regclass(format('crossdock.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE crossdock.%I (LIKE crossdock.%I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)',
        partition, parent);
    PERFORM crossdock.lay_out(partition);
    EXECUTE format(
        'WITH moved AS (DELETE FROM crossdock.%I WHERE %I >= %L AND %I < %L RETURNING *) '
        'INSERT INTO crossdock.%I SELECT * FROM moved', parent || '_default', moment_of, month_start, moment_of, month_end,
        partition);
    EXECUTE format(
        'ALTER TABLE crossdock.%I ATTACH PARTITION crossdock.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition, month_start, month_end);
    RETURN true;
END
$$;

-- Drops the partition of one month; anything else, such as a default partition, is refused.
CREATE FUNCTION crossdock.drop_partition(partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        JOIN pg_class parent ON parent.oid = inhparent
        JOIN pg_partitioned_table ON partrelid = inhparent
        JOIN pg_namespace ON pg_namespace.oid = child.relnamespace AND pg_namespace.oid = parent.relnamespace
        WHERE nspname = 'crossdock' AND child.relname = partition
          AND child.relname ~ ('^' || parent.relname || '_[0-9]{4,}_[0-9]{2}$')
    ) THEN
        RAISE EXCEPTION 'crossdock.% is not the partition of a month', partition;
    END IF;
    EXECUTE format('DROP TABLE crossdock.%I', partition);
END
$$;

REVOKE EXECUTE ON FUNCTION crossdock.make_partition(text, timestamptz), crossdock.drop_partition(text) FROM PUBLIC;
