-- A carton is recognised by any of its identifiers, and copies of it may lack some (workers/store/aliases.py): what is
-- known of the cartons of each shipment, and the documents that are one carton merged.

CREATE TABLE crossdock.shipments (
    platform   text        NOT NULL,
    account    text        NOT NULL,
    type       text        NOT NULL,
    shipment   text        NOT NULL,  -- as in keys: what is before the slash
    cartons    jsonb       NOT NULL,  -- [{"key": …, "aliases": […]}]
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shipment, account, type, platform)
);

-- Puts `others` into `target`, under this key. Versions are numbered anew by when they were received; a store worker
-- works them out again from the receipts where their times overlap.
CREATE FUNCTION crossdock.merge_documents(target bigint, others bigint[], new_key text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(others) > 0 THEN
        -- The counters of a newest version are in its document.
        UPDATE crossdock.versions v
        SET times_received = d.times_received, last_received_at = d.last_received_at
        FROM crossdock.documents d
        WHERE d.id = ANY (others || target) AND v.id = d.version_id AND v.received_at = d.received_at;
        UPDATE crossdock.receipts SET document_id = target WHERE document_id = ANY (others);
        UPDATE crossdock.versions SET document_id = target WHERE document_id = ANY (others);
        UPDATE crossdock.outbox SET document_id = target WHERE document_id = ANY (others);
        UPDATE crossdock.finished SET document_id = target WHERE document_id = ANY (others);
        DELETE FROM crossdock.documents WHERE id = ANY (others);
        UPDATE crossdock.versions v
        SET version = n.version
        FROM (SELECT id, received_at,
                     min(version) OVER () - 1 + row_number() OVER (ORDER BY received_at, message_id) AS version
              FROM crossdock.versions
              WHERE document_id = target) n
        WHERE v.id = n.id AND v.received_at = n.received_at AND v.version <> n.version;
        UPDATE crossdock.documents d
        SET received_at = v.received_at, last_received_at = v.last_received_at, version_id = v.id, version = v.version,
            times_received = v.times_received, digest = v.digest, order_number = v.order_number,
            order_ref = v.order_ref, warehouse_ref = v.warehouse_ref, ship_from = v.ship_from, ship_to = v.ship_to
        FROM (SELECT * FROM crossdock.versions
              WHERE document_id = target
              ORDER BY received_at DESC, message_id DESC
              LIMIT 1) v
        WHERE d.id = target;
    END IF;
    UPDATE crossdock.documents SET key = new_key WHERE id = target AND key <> new_key;
END
$$;

-- What is stored already: the identifiers of each carton, out of its newest version, the best first, as its key has
-- them. Where the body isn't there as JSON its key goes on being what it is recognised by.
CREATE TEMPORARY TABLE carton ON COMMIT DROP AS
SELECT d.id, d.platform, d.account, d.type, d.key, split_part(d.key, '/', 1) AS shipment, named.aliases
FROM crossdock.documents d
JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
CROSS JOIN LATERAL (
    SELECT array_agg(name.rank || replace(replace(said.text, '%', '%25'), '/', '%2F') ORDER BY name.rank) AS aliases
    FROM (VALUES ('0', 'Sscc'), ('1', 'LicensePlate'), ('2', 'CartonNumber')) name (rank, name)
    CROSS JOIN LATERAL (
        SELECT crossdock.trimmed(one.value #>> '{}') AS text
        FROM (
            SELECT v.body -> 'additionalFields' -> name.name AS value, 0 AS place
            WHERE jsonb_typeof(v.body -> 'additionalFields') = 'object'
            UNION ALL
            SELECT field.value -> 'value', field.ordinality
            FROM jsonb_array_elements(CASE jsonb_typeof(v.body -> 'additionalFields')
                                      WHEN 'array' THEN v.body -> 'additionalFields' END) WITH ORDINALITY field
            WHERE field.value ->> 'name' = name.name
        ) one
        WHERE jsonb_typeof(one.value) IN ('string', 'number')
          AND lower(crossdock.trimmed(one.value #>> '{}'))
              NOT IN ('', 'null', '(null)', '<null>', 'none', 'nil', 'undefined', 'n/a')
          AND crossdock.trimmed(one.value #>> '{}') ~ '[^[:punct:][:space:]]'
        ORDER BY one.place
        LIMIT 1
    ) said
) named
WHERE d.platform = 'channelape' AND d.type IN ('channelape.ship_confirmation', 'channelape.advanced_ship_notice')
  AND position('/' IN d.key) > 0 AND named.aliases IS NOT NULL;

-- Cartons that share an identifier, directly or through others, are one: each takes the least id that it can reach.
ALTER TABLE carton ADD COLUMN first bigint;
UPDATE carton SET first = id;
DO $$
DECLARE
    joined bigint;
BEGIN
    LOOP
        WITH least_of AS (
            SELECT c.id, min(c.first) OVER (PARTITION BY c.platform, c.account, c.type, c.shipment, one.alias) AS first
            FROM carton c
            CROSS JOIN LATERAL unnest(c.aliases) one (alias)
        ), lower AS (
            SELECT id, min(first) AS first FROM least_of GROUP BY id
        )
        UPDATE carton c SET first = lower.first FROM lower WHERE lower.id = c.id AND lower.first < c.first;
        GET DIAGNOSTICS joined = ROW_COUNT;
        EXIT WHEN joined = 0;
    END LOOP;
END
$$;

CREATE TEMPORARY TABLE whole ON COMMIT DROP AS
SELECT c.platform, c.account, c.type, c.shipment, c.first, array_agg(DISTINCT c.id) AS ids,
       array_agg(DISTINCT one.alias ORDER BY one.alias) AS aliases
FROM carton c
CROSS JOIN LATERAL unnest(c.aliases) one (alias)
GROUP BY c.platform, c.account, c.type, c.shipment, c.first;

SELECT crossdock.merge_documents(
    merged.target, array_remove(merged.ids, merged.target), merged.shipment || '/' || substr(merged.aliases[1], 2))
FROM (
    SELECT w.*, coalesce((SELECT d.id FROM crossdock.documents d
                          WHERE d.id = ANY (w.ids) AND d.key = w.shipment || '/' || substr(w.aliases[1], 2)),
                         w.first) AS target
    FROM whole w
    WHERE cardinality(w.ids) > 1
) merged;

INSERT INTO crossdock.shipments (platform, account, type, shipment, cartons)
SELECT platform, account, type, shipment,
       jsonb_agg(jsonb_build_object(
           'key', CASE WHEN cardinality(ids) > 1 THEN shipment || '/' || substr(aliases[1], 2)
                       ELSE (SELECT key FROM crossdock.documents d WHERE d.id = first) END,
           'aliases', to_jsonb(aliases)))
FROM whole
GROUP BY platform, account, type, shipment;
