-- What the views say of identifiers with blanks, of lines that share a SKU, of receipts without a date, and of orders
-- that are cancelled in parts.

-- Blanks at the ends of an identifier, zero-width ones included: what schemas/loose.py leaves out.
CREATE FUNCTION crossdock.trimmed(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT btrim(said, E' \t\n\r\f\v\u0085\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b'
                       '\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff')
$$;

-- The lines of a version, numbered as sent. Ids and articles of what older releases stored have their blanks still.
CREATE OR REPLACE FUNCTION crossdock.lines(lines jsonb) RETURNS TABLE (
    place bigint, id text, article text, name text, quantity numeric, received numeric, damaged numeric,
    unit_price numeric, total numeric
) LANGUAGE sql STABLE AS $$
    SELECT line.ordinality, crossdock.trimmed(line.id), crossdock.trimmed(line.article), line.name, line.quantity,
           line.received, line.damaged, line.unit_price, line.total
    FROM ROWS FROM (jsonb_to_recordset(lines) AS (
        id text, article text, name text, quantity numeric, received numeric, damaged numeric,
        unit_price numeric, total numeric
    )) WITH ORDINALITY AS line
$$;

-- What documents say of themselves is compared without blanks from now on, so what is stored is written so too. A key
-- whose trimmed form another document has already stays as it is.
UPDATE crossdock.documents
SET order_number = crossdock.trimmed(order_number), order_ref = crossdock.trimmed(order_ref),
    warehouse_ref = crossdock.trimmed(warehouse_ref), ship_from = crossdock.trimmed(ship_from),
    ship_to = crossdock.trimmed(ship_to)
WHERE (order_number, order_ref, warehouse_ref, ship_from, ship_to) IS DISTINCT FROM (
    crossdock.trimmed(order_number), crossdock.trimmed(order_ref), crossdock.trimmed(warehouse_ref),
    crossdock.trimmed(ship_from), crossdock.trimmed(ship_to));
UPDATE crossdock.documents d
SET key = crossdock.trimmed(d.key)
WHERE d.key <> crossdock.trimmed(d.key) AND crossdock.trimmed(d.key) <> ''
  AND NOT EXISTS (SELECT FROM crossdock.documents other
                  WHERE crossdock.trimmed(other.key) = crossdock.trimmed(d.key) AND other.account = d.account
                    AND other.type = d.type AND other.platform = d.platform AND other.id <> d.id);

-- What a line gets of a total that fills several, one after the other. `room`: what it has room for; `earlier`: what
-- those before it have room for. The last gets the rest, also one below zero.
CREATE FUNCTION crossdock.share(total numeric, room numeric, earlier numeric, is_last boolean) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN is_last THEN total - least(greatest(total, 0), earlier)
                ELSE least(room, greatest(total - earlier, 0)) END
$$;

-- A line of a carton or a receipt belongs to the transfer order's line with its id or, where either has no id of its
-- own (it then goes by its sku), to the lines with its sku. Several such lines are filled one after the other up to
-- what was ordered, and the last of them takes the rest: everything counts, and nothing twice.
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
               CASE WHEN id IS DISTINCT FROM article THEN 'id' ELSE 'sku, having no id' END AS by,
               id AS name
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
        -- A receipt that says neither when the goods were received nor when they arrived: when we heard of it, in UTC.
        SELECT d.id, d.type, lv.lines, lv.shipped_at, lv.flags,
               coalesce(lv.goods_received_at, lv.received_at AT TIME ZONE 'UTC') AS goods_received_at,
               crossdock.flipped(d.ship_from, d.ship_to, sto.ship_from, sto.ship_to) AS flipped
        FROM linked_document d
        JOIN crossdock.versions lv ON lv.id = d.version_id AND lv.received_at = d.received_at
        WHERE d.type IN ('channelape.ship_confirmation', 'channelape.advanced_ship_notice',
                         'channelape.receipt_confirmation')
    ), moved AS (
        SELECT CASE WHEN own.name IS NOT NULL THEN 'id'
                    WHEN l.id IS DISTINCT FROM l.article THEN 'sku, having no id'
                    ELSE 'sku' END AS by,
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
        SELECT by, name, kind, coalesce(sum(quantity), 0) AS total, array_agg(DISTINCT document) AS documents,
               min(shipped_at) AS shipped_at, max(received_at) AS received_at
        FROM moved
        GROUP BY by, name, kind
    ), by_id AS MATERIALIZED (
        -- What names a line, and what only lines without an id of their own may take.
        SELECT line.place, pool.*, line.room, row_number() OVER lines AS nth, count(*) OVER whole AS of,
               coalesce(sum(line.room) OVER before, 0) AS earlier
        FROM line
        JOIN pool ON pool.by = line.by AND pool.name = line.name
        WINDOW whole AS (PARTITION BY pool.by, pool.name, pool.kind), lines AS (whole ORDER BY line.place),
               before AS (lines ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), named AS MATERIALIZED (
        SELECT by_id.*, crossdock.share(total, room, earlier, nth = of) AS share FROM by_id
    ), by_sku AS (
        -- What only says an article fills up what is left.
        SELECT line.place, pool.*, left_over.room, row_number() OVER lines AS nth, count(*) OVER whole AS of,
               coalesce(sum(left_over.room) OVER before, 0) AS earlier
        FROM line
        JOIN pool ON pool.by = 'sku' AND pool.name = line.sku
        LEFT JOIN named ON named.place = line.place AND named.kind = pool.kind
        CROSS JOIN LATERAL (SELECT greatest(line.room - coalesce(named.share, 0), 0) AS room) left_over
        WINDOW whole AS (PARTITION BY pool.name, pool.kind), lines AS (whole ORDER BY line.place),
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
                    THEN 'unreadable_number' END
           ], NULL) AS flags
    FROM line
    LEFT JOIN taken ON taken.place = line.place
    LEFT JOIN carton ON carton.place = line.place
) progress
WHERE sto.platform = 'channelape' AND sto.type = 'channelape.stock_transfer_order';

-- eComNow's document: each cancellation lists what it cancels. So the versions of one add up, each content once (the
-- same list again, `repeat_suspected` or not, is taken for a repeat). What is cancelled is taken from the order's lines
-- of that article from the first on, from none more than it holds. What is cancelled of an order that never came, or
-- isn't in it, stands alone, with no quantity.
CREATE VIEW crossdock.cancelled AS
SELECT d.id AS document_id, d.platform, d.account, d.key, coalesce(l.article, '') AS article,
       sum(l.quantity) AS quantity,
       (array_agg(l.id ORDER BY v.received_at DESC, v.message_id DESC, l.place))[1] AS line,
       (array_agg(l.name ORDER BY v.received_at DESC, v.message_id DESC, l.place))[1] AS name,
       (array_agg(l.unit_price ORDER BY v.received_at DESC, v.message_id DESC, l.place))[1] AS unit_price,
       sum(l.total) AS total
FROM crossdock.documents d
JOIN crossdock.versions v ON v.document_id = d.id AND v.occurrence = 0
CROSS JOIN LATERAL crossdock.lines(v.lines) l
WHERE d.type = 'ecomnow.order_cancellation'
GROUP BY d.id, d.platform, d.account, d.key, coalesce(l.article, '');

CREATE OR REPLACE VIEW crossdock.orders AS
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
        SELECT c.article, c.quantity
        FROM crossdock.cancelled c
        WHERE d.type = 'ecomnow.new_order' AND c.key = d.key AND c.account = d.account AND c.platform = d.platform
    ) cancelled ON cancelled.article = coalesce(l.article, '')
) line
WHERE d.type IN ('apicbase.purchase_order', 'ecomnow.new_order', 'ustore.manufacturer_allocation')
UNION ALL
SELECT d.platform, d.account, d.order_number, l.line, nullif(l.article, ''), l.name, NULL::numeric, l.quantity,
       l.unit_price, l.total, v.placed_at, d.type, d.key
FROM crossdock.documents d
JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
-- OFFSET 0: the one document is looked up, and not all of them added up first.
CROSS JOIN LATERAL (SELECT * FROM crossdock.cancelled c WHERE c.document_id = d.id OFFSET 0) l
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(coalesce(o.article, '')), '{}') AS articles
    FROM crossdock.documents od
    JOIN crossdock.versions ov ON ov.id = od.version_id AND ov.received_at = od.received_at
    CROSS JOIN LATERAL crossdock.lines(ov.lines) o
    WHERE od.key = d.key AND od.account = d.account AND od.type = 'ecomnow.new_order' AND od.platform = d.platform
) ordered
WHERE d.type = 'ecomnow.order_cancellation' AND l.article <> ALL (ordered.articles);
