-- The planner's statistics hold samples of values. Only a table's owner may have them made again, and the store worker,
-- which finishes erasures, is none.
CREATE FUNCTION crossdock.forget_samples(name text, columns text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'ANALYZE crossdock.%I (%s)', name, (SELECT string_agg(quote_ident(value), ', ') FROM unnest(columns) value));
END
$$;

REVOKE EXECUTE ON FUNCTION crossdock.forget_samples(text, text[]), crossdock.merge_identifiers() FROM PUBLIC;
