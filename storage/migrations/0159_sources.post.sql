-- Every version has its document's platform, account and type (0151). The views use them, so that the newest of each
-- are found through an index.

CREATE OR REPLACE VIEW crossdock.events AS
SELECT v.id, v.platform, v.account, v.type, d.key, v.version, v.received_at, v.stored_at,
       CASE WHEN d.version_id = v.id THEN d.times_received ELSE v.times_received END AS times_received,
       CASE WHEN d.version_id = v.id THEN d.last_received_at ELSE v.last_received_at END AS last_received_at,
       CASE WHEN v.body IS NOT NULL THEN v.body
            WHEN NOT v.flags && '{not_json,not_jsonb,erased}'::text[] THEN crossdock.body_of(r.raw)
       END AS body,
       r.raw,
       CASE WHEN v.ship_from IS NOT NULL AND v.ship_to IS NOT NULL
                 AND v.platform = 'channelape' AND v.type <> 'channelape.stock_transfer_order'
                 AND (EXISTS (SELECT FROM crossdock.documents sto
                              WHERE sto.key = v.order_ref AND sto.account = v.account
                                AND sto.type = 'channelape.stock_transfer_order' AND sto.platform = v.platform
                                AND crossdock.flipped(v.ship_from, v.ship_to, sto.ship_from, sto.ship_to))
                      OR v.order_ref IS NULL
                         AND EXISTS (SELECT FROM crossdock.documents sto
                                     WHERE sto.warehouse_ref = v.warehouse_ref AND sto.account = v.account
                                       AND sto.type = 'channelape.stock_transfer_order' AND sto.platform = v.platform
                                       AND crossdock.flipped(v.ship_from, v.ship_to, sto.ship_from, sto.ship_to)))
            THEN v.flags || 'direction_flipped'::text
            ELSE v.flags
       END AS flags,
       r.event, r.message_id, r.content_type, r.traceparent,
       -- coalesce: as join conditions, these would make PostgreSQL expect a single row, and read both tables for it.
       coalesce(d.version_id = v.id AND d.received_at = v.received_at, false) AS newest,
       -- The number that the newest version has: it finds all versions.
       d.order_number
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
LEFT JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id;

-- The same rows as before, but in one branch, so that the newest are found through versions_orders: PostgreSQL does not
-- carry an order into the branches of a UNION ALL that are joins.
CREATE OR REPLACE VIEW crossdock.orders AS
SELECT v.platform, v.account, d.order_number, line.line, line.article, line.name, line.quantity, line.cancelled,
       line.unit_price, line.total, v.placed_at, v.type, d.key, v.received_at
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id AND d.version_id = v.id AND d.received_at = v.received_at
CROSS JOIN LATERAL (
    SELECT l.id AS line, l.article, l.name, l.quantity,
           greatest(0, least(l.quantity, coalesce(cancelled.quantity, 0) - coalesce(
               sum(l.quantity) OVER (PARTITION BY coalesce(l.article, '') ORDER BY l.place
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))) AS cancelled,
           l.unit_price, l.total
    FROM crossdock.lines(v.lines) l
    LEFT JOIN (
        SELECT c.article, c.quantity
        FROM crossdock.cancelled c
        WHERE v.type = 'ecomnow.new_order' AND c.key = d.key AND c.account = d.account AND c.platform = d.platform
    ) cancelled ON cancelled.article = coalesce(l.article, '')
    WHERE v.type <> 'ecomnow.order_cancellation'
    UNION ALL
    SELECT l.line, nullif(l.article, ''), l.name, NULL::numeric, l.quantity, l.unit_price, l.total
    -- OFFSET 0: the one document is looked up, and not all of them added up first.
    FROM (SELECT * FROM crossdock.cancelled c WHERE c.document_id = d.id OFFSET 0) l
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(coalesce(o.article, '')), '{}') AS articles
        FROM crossdock.documents od
        JOIN crossdock.versions ov ON ov.id = od.version_id AND ov.received_at = od.received_at
        CROSS JOIN LATERAL crossdock.lines(ov.lines) o
        WHERE od.key = d.key AND od.account = d.account AND od.type = 'ecomnow.new_order' AND od.platform = d.platform
    ) ordered
    WHERE v.type = 'ecomnow.order_cancellation' AND l.article <> ALL (ordered.articles)
) line
WHERE v.type IN ('apicbase.purchase_order', 'ecomnow.new_order', 'ustore.manufacturer_allocation',
                 'ecomnow.order_cancellation');

-- versions_newest does what it did, and gives an order as well.
DROP INDEX crossdock.versions_received;
