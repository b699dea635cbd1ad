-- What a shipment, notice or receipt says of a line that the transfer order does not have used to count nowhere.

-- A line of a carton or a receipt belongs to the transfer order's line with its id, if the order has that id.
-- Otherwise, with an id of its own or without, it belongs to the lines with its sku: they are filled one after the
-- other up to what was ordered, and the last of them takes the rest. Everything counts, and nothing twice; goods that
-- no line of the order names give all its lines the flag `not_ordered`.
--
-- Ids are compared as sent, leading zeros included. The platform's ids are zero-padded texts of different widths
-- (`000010` beside `00020`) and are nowhere called numbers, so `10` is not the line `000010`; it goes by its sku.
CREATE OR REPLACE VIEW crossdock.transfer_progress AS
SELECT sto.account, sto.key AS channel_order_id, progress.line_id, progress.sku, progress.ordered,
       progress.shipped, progress.announced, progress.received, progress.damaged,
       progress.ordered - progress.received AS outstanding,
       progress.cartons, progress.first_shipped_at, progress.last_received_at, progress.flags
FROM crossdock.documents sto
JOIN crossdock.versions v ON v.id = sto.version_id AND v.received_at = sto.received_at
CROSS JOIN LATERAL (
    WITH line AS MATERIALIZED (
        SELECT place, id, article AS sku, quantity, greatest(coalesce(quantity, 0), 0) AS room,
               CASE WHEN id IS DISTINCT FROM article THEN 'id' END AS by, id AS name
        FROM crossdock.lines(v.lines)
    ), linked_document AS (
        SELECT d.id, d.type, d.version_id, d.received_at, d.ship_from, d.ship_to
        FROM crossdock.documents d
        WHERE d.order_ref = sto.key AND d.account = sto.account
        UNION ALL
        SELECT d.id, d.type, d.version_id, d.received_at, d.ship_from, d.ship_to
        FROM crossdock.documents d
        WHERE d.warehouse_ref = sto.warehouse_ref AND d.order_ref IS NULL AND d.account = sto.account
    ), linked AS MATERIALIZED (
        -- A receipt without a time of receipt or arrival has the time at which the document was received, in UTC. A time
        -- that was sent but cannot be read is unknown, so nothing stands in for it.
        SELECT d.id, d.type, lv.lines, lv.shipped_at, lv.flags,
               CASE WHEN lv.goods_received_at IS NULL AND NOT 'unreadable_date' = ANY (lv.flags)
                    THEN lv.received_at AT TIME ZONE 'UTC' ELSE lv.goods_received_at END AS goods_received_at,
               crossdock.flipped(d.ship_from, d.ship_to, sto.ship_from, sto.ship_to) AS flipped
        FROM linked_document d
        JOIN crossdock.versions lv ON lv.id = d.version_id AND lv.received_at = d.received_at
        WHERE d.type IN ('channelape.ship_confirmation', 'channelape.advanced_ship_notice',
                         'channelape.receipt_confirmation')
    ), moved AS (
        SELECT CASE WHEN own.name IS NULL THEN 'sku' ELSE 'id' END AS by,
               coalesce(own.name, l.article) AS name,
               kind.kind, kind.quantity, linked.id AS document,
               CASE WHEN kind.kind = 'shipped' THEN linked.shipped_at END AS shipped_at,
               CASE WHEN kind.kind = 'received' THEN linked.goods_received_at END AS received_at
        FROM linked
        CROSS JOIN LATERAL crossdock.lines(linked.lines) l
        LEFT JOIN (SELECT DISTINCT name FROM line WHERE by = 'id') own
            ON own.name = l.id AND l.id IS DISTINCT FROM l.article
        CROSS JOIN LATERAL (
            SELECT 'shipped', l.quantity WHERE linked.type = 'channelape.ship_confirmation'
            UNION ALL SELECT 'announced', l.quantity WHERE linked.type = 'channelape.advanced_ship_notice'
            UNION ALL SELECT 'received', l.received WHERE linked.type = 'channelape.receipt_confirmation'
            UNION ALL SELECT 'damaged', l.damaged WHERE linked.type = 'channelape.receipt_confirmation'
        ) kind (kind, quantity)
    ), pool AS MATERIALIZED (
        SELECT by, name, kind, coalesce(sum(quantity), 0) AS total,
               coalesce(bool_or(quantity <> 0), false) AS has_goods, array_agg(DISTINCT document) AS documents,
               min(shipped_at) AS shipped_at, max(received_at) AS received_at
        FROM moved
        GROUP BY by, name, kind
    ), by_id AS MATERIALIZED (
        -- What names a line by its id.
        SELECT line.place, pool.*, line.room, row_number() OVER lines AS nth, count(*) OVER whole AS of,
               coalesce(sum(line.room) OVER before, 0) AS earlier
        FROM line
        JOIN pool ON pool.by = line.by AND pool.name = line.name
        WINDOW whole AS (PARTITION BY pool.by, pool.name, pool.kind), lines AS (whole ORDER BY line.place),
               before AS (lines ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), named AS MATERIALIZED (
        SELECT by_id.*, crossdock.share(total, room, earlier, nth = of) AS share FROM by_id
    ), left_over AS (
        -- What names only an article, or with it an id that the order does not have, fills up what is left. Both are
        -- added up in one pass: the planner takes a join of them for a small one, and its time would be quadratic.
        SELECT place, kind, max(name) AS name, max(total) AS total, max(documents) AS documents,
               min(shipped_at) AS shipped_at, max(received_at) AS received_at, greatest(sum(room), 0) AS room
        FROM (
            SELECT line.place, pool.kind, pool.name, pool.total, pool.documents, pool.shipped_at, pool.received_at,
                   line.room
            FROM line
            JOIN pool ON pool.by = 'sku' AND pool.name = line.sku
            UNION ALL
            SELECT place, kind, NULL, NULL, NULL, NULL, NULL, -share
            FROM named
        ) part
        GROUP BY place, kind
        HAVING count(total) > 0
    ), by_sku AS (
        SELECT left_over.*, row_number() OVER lines AS nth, count(*) OVER whole AS of,
               coalesce(sum(room) OVER before, 0) AS earlier
        FROM left_over
        WINDOW whole AS (PARTITION BY name, kind), lines AS (whole ORDER BY place),
               before AS (lines ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), shared AS MATERIALIZED (
        SELECT place, kind, total, documents, shipped_at, received_at, nth, share FROM named
        UNION ALL
        SELECT place, kind, total, documents, shipped_at, received_at, nth,
               crossdock.share(total, room, earlier, nth = of)
        FROM by_sku
    ), taken AS (
        -- Cartons and times count where something of them went; of nothing at all, on the first line.
        SELECT place,
               sum(share) FILTER (WHERE kind = 'shipped') AS shipped,
               sum(share) FILTER (WHERE kind = 'announced') AS announced,
               sum(share) FILTER (WHERE kind = 'received') AS received,
               sum(share) FILTER (WHERE kind = 'damaged') AS damaged,
               min(shipped_at) FILTER (WHERE share <> 0 OR (total = 0 AND nth = 1)) AS first_shipped_at,
               max(received_at) FILTER (WHERE share <> 0 OR (total = 0 AND nth = 1)) AS last_received_at
        FROM shared
        GROUP BY place
    ), carton AS (
        SELECT place, count(DISTINCT document) AS cartons
        FROM shared
        CROSS JOIN LATERAL unnest(documents) document
        WHERE kind = 'shipped' AND (share <> 0 OR (total = 0 AND nth = 1))
        GROUP BY place
    )
    SELECT line.id AS line_id, line.sku, line.quantity AS ordered,
           coalesce(taken.shipped, 0) AS shipped, coalesce(taken.announced, 0) AS announced,
           coalesce(taken.received, 0) AS received, coalesce(taken.damaged, 0) AS damaged,
           coalesce(carton.cartons, 0) AS cartons, taken.first_shipped_at, taken.last_received_at,
           array_remove(ARRAY[
               CASE WHEN (SELECT bool_or(flipped) FROM linked) THEN 'direction_flipped' END,
               CASE WHEN 'unreadable_number' = ANY (v.flags)
                         OR EXISTS (SELECT FROM linked WHERE 'unreadable_number' = ANY (linked.flags))
                    THEN 'unreadable_number' END,
               CASE WHEN EXISTS (SELECT FROM linked WHERE 'unreadable_date' = ANY (linked.flags))
                    THEN 'unreadable_date' END,
               CASE WHEN EXISTS (SELECT FROM pool
                                 WHERE pool.by = 'sku' AND pool.has_goods
                                   AND NOT EXISTS (SELECT FROM line WHERE line.sku = pool.name))
                    THEN 'not_ordered' END
           ], NULL) AS flags
    FROM line
    LEFT JOIN taken ON taken.place = line.place
    LEFT JOIN carton ON carton.place = line.place
) progress
WHERE sto.platform = 'channelape' AND sto.type = 'channelape.stock_transfer_order';
