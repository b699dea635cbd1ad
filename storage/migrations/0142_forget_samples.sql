-- The planner's statistics hold samples of values. Only a table's owner may have them made again, and the store worker,
-- which finishes erasures, is none.
CREATE FUNCTION crossdock.forget_samples(name text, columns text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'ANALYZE crossdock.%I (%s)', name, (SELECT string_agg(quote_ident(value), ', ') FROM unnest(columns) value));
END
$$;

-- Tables of whose columns the planner keeps samples. `pg_stats` shows a role only the columns that it may read, and of
-- partitions it may read none by itself.
CREATE FUNCTION crossdock.sampled_columns() RETURNS TABLE ("table" text, columns text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT tablename::text, array_agg(attname::text)
    FROM pg_stats
    WHERE schemaname = 'crossdock'
    GROUP BY tablename
$$;

REVOKE EXECUTE ON FUNCTION crossdock.forget_samples(text, text[]), crossdock.sampled_columns(),
    crossdock.merge_identifiers() FROM PUBLIC;
