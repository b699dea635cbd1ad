-- Everything that documents are found by (contract §10), apart from their keys, which `documents` has an index for. One
-- row per version, with the numbers and articles that it holds as hashes (storage/identifiers.py): one narrow row and one
-- entry per hash take less than half the space and time of a row per number.
--
-- A hash covers the text and the bucket that it was filed under, which is a range of document ids. So the entries of an
-- article that every document holds are spread over many keys, and the newest documents that hold it are found without
-- reading the others.

CREATE TABLE crossdock.identifiers (
    document_id bigint      NOT NULL,
    received_at timestamptz NOT NULL,  -- of the version: they are dropped with the same month
    keys        bigint[]    NOT NULL
) PARTITION BY RANGE (received_at);
-- For documents that are merged, and to find out what is missing.
CREATE INDEX identifiers_document ON crossdock.identifiers (document_id);
-- New entries go to the index's pending list, which costs a fifth of filing each by itself. Store workers merge the list
-- into the index twice a second (workers/store/jobs.py), long before it reaches the limit at which a transaction would
-- have to do it.
CREATE INDEX identifiers_keys ON crossdock.identifiers USING gin (keys)
    WITH (fastupdate = on, gin_pending_list_limit = 16384);

CREATE TABLE crossdock.identifiers_default PARTITION OF crossdock.identifiers DEFAULT;
SELECT crossdock.make_partition('identifiers', to_date(right(name, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC')
FROM crossdock.partitions_before('versions', 'infinity') name;

-- Only an index's owner may merge its pending list.
CREATE FUNCTION crossdock.merge_identifiers() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT gin_clean_pending_list(inhrelid::regclass)
    FROM pg_inherits
    WHERE inhparent = 'crossdock.identifiers_keys'::regclass
$$;

-- Store workers index what is stored already, the newest first (workers/store/backfill.py). There is a second round a day
-- later, because workers of the previous release may have stored more while the first was under way.
CREATE TABLE crossdock.identifier_rounds (
    round       smallint    NOT NULL PRIMARY KEY,
    due_at      timestamptz NOT NULL,
    before_at   timestamptz NOT NULL,  -- with before_id: the receipt that is next to be read comes before this position
    before_id   uuid        NOT NULL DEFAULT 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    finished_at timestamptz
);
INSERT INTO crossdock.identifier_rounds (round, due_at, before_at)
SELECT round, now() + pause, now() + pause + interval '1 day'
FROM (VALUES (1, interval '0'), (2, interval '1 day')) rounds (round, pause)
WHERE EXISTS (SELECT FROM crossdock.receipts);
