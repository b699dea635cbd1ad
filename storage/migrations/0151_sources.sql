-- Versions carry the platform, the account and the type of their document, so that the newest of each are found through
-- an index (0152). Rows of older releases get them from `crossdock migrate --post` (storage/backfill.py), after which
-- the views use them (0159). A body that is the receipt's bytes as JSON is made from these, and not stored again.

ALTER TABLE crossdock.versions ADD COLUMN platform text, ADD COLUMN account text, ADD COLUMN type text;

-- The JSON of received bytes, or null if PostgreSQL does not take them as jsonb. A function that never fails, because
-- one row that could not be read would make the view `events` unusable.
CREATE FUNCTION crossdock.body_of(raw bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(raw, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

-- `body`: where it is not the first receipt's bytes as JSON (repaired, or in another encoding), it is stored.
CREATE OR REPLACE VIEW crossdock.events AS
SELECT v.id, d.platform, d.account, d.type, d.key, v.version, v.received_at, v.stored_at,
       CASE WHEN d.version_id = v.id THEN d.times_received ELSE v.times_received END AS times_received,
       CASE WHEN d.version_id = v.id THEN d.last_received_at ELSE v.last_received_at END AS last_received_at,
       CASE WHEN v.body IS NOT NULL THEN v.body
            WHEN NOT v.flags && '{not_json,not_jsonb,erased}'::text[] THEN crossdock.body_of(r.raw)
       END AS body,
       r.raw,
       CASE WHEN v.ship_from IS NOT NULL AND v.ship_to IS NOT NULL
                 AND d.platform = 'channelape' AND d.type <> 'channelape.stock_transfer_order'
                 AND (EXISTS (SELECT FROM crossdock.documents sto
                              WHERE sto.key = v.order_ref AND sto.account = d.account
                                AND sto.type = 'channelape.stock_transfer_order' AND sto.platform = d.platform
                                AND crossdock.flipped(v.ship_from, v.ship_to, sto.ship_from, sto.ship_to))
                      OR v.order_ref IS NULL
                         AND EXISTS (SELECT FROM crossdock.documents sto
                                     WHERE sto.warehouse_ref = v.warehouse_ref AND sto.account = d.account
                                       AND sto.type = 'channelape.stock_transfer_order' AND sto.platform = d.platform
                                       AND crossdock.flipped(v.ship_from, v.ship_to, sto.ship_from, sto.ship_to)))
            THEN v.flags || 'direction_flipped'::text
            ELSE v.flags
       END AS flags,
       r.event, r.message_id, r.content_type, r.traceparent,
       -- Both columns, so that the newest version is found by key in one partition.
       d.version_id = v.id AND d.received_at = v.received_at AS newest,
       -- The number that the newest version has: it finds all versions.
       d.order_number
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
LEFT JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id;

CREATE OR REPLACE VIEW crossdock.current_events AS
SELECT id, platform, account, type, key, version, received_at, stored_at, times_received, last_received_at, body, raw,
       flags, event, message_id, content_type, traceparent, order_number
FROM crossdock.events
WHERE newest;

-- How many webhooks each account sent in each hour of the last two weeks, and when the first and the last came.
CREATE VIEW crossdock.activity AS
SELECT platform, account, hour, count AS messages, first_at, last_at
FROM crossdock.arrivals;
