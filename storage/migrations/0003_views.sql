-- The views of the contract. Everything that people query is here; the tables may change under them.

-- The lines of a version, numbered as sent.
CREATE FUNCTION crossdock.lines(lines jsonb) RETURNS TABLE (
    place bigint, id text, article text, name text, quantity numeric, received numeric, damaged numeric,
    unit_price numeric, total numeric
) LANGUAGE sql STABLE AS $$
    SELECT line.ordinality, line.id, line.article, line.name, line.quantity, line.received, line.damaged,
           line.unit_price, line.total
    FROM ROWS FROM (jsonb_to_recordset(lines) AS (
        id text, article text, name text, quantity numeric, received numeric, damaged numeric,
        unit_price numeric, total numeric
    )) WITH ORDINALITY AS line
$$;

-- Whether a document's direction is the reverse of its transfer order's (FACTS: the platform swaps the meaning of
-- ship_from and ship_to between its own tables and examples; we store as sent and flag).
CREATE FUNCTION crossdock.flipped(ship_from text, ship_to text, order_from text, order_to text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(ship_from = order_to AND ship_to = order_from AND order_from <> order_to, false)
$$;

CREATE VIEW crossdock.events AS
SELECT v.id, d.platform, d.account, d.type, d.key, v.version, v.received_at, v.stored_at,
       CASE WHEN d.version_id = v.id THEN d.times_received ELSE v.times_received END AS times_received,
       CASE WHEN d.version_id = v.id THEN d.last_received_at ELSE v.last_received_at END AS last_received_at,
       v.body, r.raw,
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
       d.version_id = v.id AND d.received_at = v.received_at AS newest
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
LEFT JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id;

CREATE VIEW crossdock.current_events AS
SELECT id, platform, account, type, key, version, received_at, stored_at, times_received, last_received_at, body, raw,
       flags, event, message_id, content_type, traceparent
FROM crossdock.events
WHERE newest;

-- A line of a carton or a receipt belongs to the transfer order's line with its id or, where either has no id of its
-- own (it then goes by its sku), with its sku. Where the order has several such lines it counts on the first, so that
-- nothing counts twice.
CREATE VIEW crossdock.transfer_progress AS
SELECT sto.account, sto.key AS channel_order_id, progress.line_id, progress.sku, progress.ordered,
       progress.shipped, progress.announced, progress.received, progress.damaged,
       progress.ordered - progress.received AS outstanding,
       progress.cartons, progress.first_shipped_at, progress.last_received_at, progress.flags
FROM crossdock.documents sto
JOIN crossdock.versions v ON v.id = sto.version_id AND v.received_at = sto.received_at
CROSS JOIN LATERAL (
    WITH line AS MATERIALIZED (
        SELECT place, id, article AS sku, quantity, id IS DISTINCT FROM article AS own_id
        FROM crossdock.lines(v.lines)
    ), target AS MATERIALIZED (
        SELECT 'id' AS by, id AS name, min(place) AS place FROM line WHERE own_id GROUP BY id
        UNION ALL
        SELECT 'sku', sku, min(place) FROM line WHERE sku IS NOT NULL GROUP BY sku
        UNION ALL
        SELECT 'sku, having no id', sku, min(place) FROM line WHERE NOT own_id GROUP BY sku
    ), linked_document AS (
        SELECT d.id, d.type, d.version_id, d.received_at, d.ship_from, d.ship_to
        FROM crossdock.documents d
        WHERE d.order_ref = sto.key AND d.account = sto.account
        UNION ALL
        SELECT d.id, d.type, d.version_id, d.received_at, d.ship_from, d.ship_to
        FROM crossdock.documents d
        WHERE d.warehouse_ref = sto.warehouse_ref AND d.order_ref IS NULL AND d.account = sto.account
    ), linked AS MATERIALIZED (
        SELECT d.id, d.type, lv.lines, lv.shipped_at, lv.goods_received_at,
               crossdock.flipped(d.ship_from, d.ship_to, sto.ship_from, sto.ship_to) AS flipped
        FROM linked_document d
        JOIN crossdock.versions lv ON lv.id = d.version_id AND lv.received_at = d.received_at
        WHERE d.type IN ('channelape.ship_confirmation', 'channelape.advanced_ship_notice',
                         'channelape.receipt_confirmation')
    ), moved AS (
        SELECT coalesce(by_id.place, by_sku.place) AS place,
               sum(l.quantity) FILTER (WHERE linked.type = 'channelape.ship_confirmation') AS shipped,
               sum(l.quantity) FILTER (WHERE linked.type = 'channelape.advanced_ship_notice') AS announced,
               sum(coalesce(l.received, l.quantity)) FILTER (WHERE linked.type = 'channelape.receipt_confirmation')
                   AS received,
               sum(l.damaged) FILTER (WHERE linked.type = 'channelape.receipt_confirmation') AS damaged,
               count(DISTINCT linked.id) FILTER (WHERE linked.type = 'channelape.ship_confirmation') AS cartons,
               min(linked.shipped_at) FILTER (WHERE linked.type = 'channelape.ship_confirmation') AS first_shipped_at,
               max(linked.goods_received_at) FILTER (WHERE linked.type = 'channelape.receipt_confirmation')
                   AS last_received_at
        FROM linked
        CROSS JOIN LATERAL crossdock.lines(linked.lines) l
        LEFT JOIN target by_id ON by_id.by = 'id' AND by_id.name = l.id AND l.id IS DISTINCT FROM l.article
        LEFT JOIN target by_sku
            ON by_sku.by = CASE WHEN l.id IS DISTINCT FROM l.article THEN 'sku, having no id' ELSE 'sku' END
            AND by_sku.name = l.article
        GROUP BY 1
    )
    SELECT line.id AS line_id, line.sku, line.quantity AS ordered,
           coalesce(moved.shipped, 0) AS shipped, coalesce(moved.announced, 0) AS announced,
           coalesce(moved.received, 0) AS received, coalesce(moved.damaged, 0) AS damaged,
           coalesce(moved.cartons, 0) AS cartons, moved.first_shipped_at, moved.last_received_at,
           CASE WHEN (SELECT bool_or(flipped) FROM linked) THEN ARRAY['direction_flipped'] ELSE ARRAY[]::text[] END
               AS flags
    FROM line LEFT JOIN moved ON moved.place = line.place
) progress
WHERE sto.platform = 'channelape' AND sto.type = 'channelape.stock_transfer_order';

-- Apicbase, eComNow and uStore order lines of the newest version. An eComNow cancellation says how many of an article
-- are cancelled: they are taken from the order's lines of that article from the first on, from none more than it holds.
-- What is cancelled of an order that never came stands alone, with no quantity.
CREATE VIEW crossdock.orders AS
SELECT d.platform, d.account, d.order_number, line.id AS line, line.article, line.name, line.quantity,
       line.cancelled, line.unit_price, line.total, v.placed_at, d.type, d.key
FROM crossdock.documents d
JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
CROSS JOIN LATERAL (
    SELECT l.*,
           greatest(0, least(l.quantity, coalesce(cancelled.quantity, 0) - coalesce(
               sum(l.quantity) OVER (PARTITION BY coalesce(l.article, '') ORDER BY l.place
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))) AS cancelled
    FROM crossdock.lines(v.lines) l
    LEFT JOIN (
        SELECT coalesce(c.article, '') AS article, sum(c.quantity) AS quantity
        FROM crossdock.documents cd
        JOIN crossdock.versions cv ON cv.id = cd.version_id AND cv.received_at = cd.received_at
        CROSS JOIN LATERAL crossdock.lines(cv.lines) c
        WHERE d.type = 'ecomnow.new_order'
          AND cd.key = d.key AND cd.account = d.account AND cd.type = 'ecomnow.order_cancellation'
          AND cd.platform = d.platform
        GROUP BY coalesce(c.article, '')
    ) cancelled ON cancelled.article = coalesce(l.article, '')
) line
WHERE d.type IN ('apicbase.purchase_order', 'ecomnow.new_order', 'ustore.manufacturer_allocation')
UNION ALL
SELECT d.platform, d.account, d.order_number, l.id, l.article, l.name, NULL::numeric, l.quantity,
       l.unit_price, l.total, v.placed_at, d.type, d.key
FROM crossdock.documents d
JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(coalesce(o.article, '')), '{}') AS articles
    FROM crossdock.documents od
    JOIN crossdock.versions ov ON ov.id = od.version_id AND ov.received_at = od.received_at
    CROSS JOIN LATERAL crossdock.lines(ov.lines) o
    WHERE od.key = d.key AND od.account = d.account AND od.type = 'ecomnow.new_order' AND od.platform = d.platform
) ordered
CROSS JOIN LATERAL crossdock.lines(v.lines) l
WHERE d.type = 'ecomnow.order_cancellation' AND coalesce(l.article, '') <> ALL (ordered.articles);

CREATE VIEW crossdock.allocations AS
SELECT d.account, d.key AS order_id, a.order_product_id, a.manufacturer_id, a.rule, a.allocated_at, a.detail
FROM crossdock.allocated_items a
JOIN crossdock.documents d ON d.id = a.document_id;

CREATE VIEW crossdock.quarantine AS
SELECT id, platform, account, event, reason, received_at, raw, replayed_at, discarded_at, stored_at, content_type,
       traceparent
FROM crossdock.quarantined;
