-- `transfers`: one row per stock transfer order, kept beside storing. A store transaction notes the documents that it
-- changed; a job of the store workers (workers/store/transfers.py) computes the transfers that they belong to.

-- When the goods of a document are expected. '-infinity': an older release stored the version and did not read it, so
-- it is read from the body where it is needed. A constant default rewrites no row.
ALTER TABLE crossdock.versions ADD COLUMN due_at timestamptz DEFAULT '-infinity';

CREATE TABLE crossdock.transfer_changes (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noted_at     timestamptz NOT NULL DEFAULT now(),
    retry_at     timestamptz,  -- not before then, because it could not be computed
    document_ids bigint[]    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);  -- every row is soon deleted

CREATE TABLE crossdock.transfer_states (
    document_id           bigint      NOT NULL PRIMARY KEY,
    account               text        NOT NULL,
    channel_order_id      text        NOT NULL,
    purchase_order_number text,
    ship_from             text,
    ship_to               text,
    ordered               numeric     NOT NULL,
    shipped               numeric     NOT NULL,
    announced             numeric     NOT NULL,
    received              numeric     NOT NULL,
    damaged               numeric     NOT NULL,
    outstanding           numeric     NOT NULL,
    missing               numeric     NOT NULL,  -- of the lines that lack something: more of another makes up for nothing
    cartons               bigint      NOT NULL,
    state                 text        NOT NULL,
    due_at                timestamptz,
    placed_at             text,
    last_activity_at      timestamptz NOT NULL,
    flags                 text[]      NOT NULL
);
CREATE INDEX transfer_states_order ON crossdock.transfer_states (channel_order_id, account);
CREATE INDEX transfer_states_purchase_order ON crossdock.transfer_states (purchase_order_number, account)
    WHERE purchase_order_number IS NOT NULL;
CREATE INDEX transfer_states_newest ON crossdock.transfer_states (last_activity_at);
CREATE INDEX transfer_states_placed ON crossdock.transfer_states (placed_at);
CREATE INDEX transfer_states_ship_from ON crossdock.transfer_states (ship_from, last_activity_at);
CREATE INDEX transfer_states_ship_to ON crossdock.transfer_states (ship_to, last_activity_at);
CREATE INDEX transfer_states_outstanding ON crossdock.transfer_states (last_activity_at) WHERE outstanding > 0;
-- The late ones, by when they were due; with the account, so that counting them reads nothing else.
CREATE INDEX transfer_states_late ON crossdock.transfer_states (due_at, account) WHERE missing > 0;

-- Where the job that fills the table with what was stored before has got to, and when it last reached the end.
CREATE TABLE crossdock.transfer_fill (
    next_id     bigint      NOT NULL,
    last_id     bigint      NOT NULL,
    finished_at timestamptz
);
INSERT INTO crossdock.transfer_fill (next_id, last_id)
SELECT 1, coalesce((SELECT max(id) FROM crossdock.documents), 0);

-- `late` changes with the clock alone, so it is an expression and not a column.
CREATE VIEW crossdock.transfers AS
SELECT account, channel_order_id, purchase_order_number, ship_from, ship_to, ordered, shipped, announced, received,
       damaged, outstanding, cartons, state, due_at,
       missing > 0 AND due_at IS NOT NULL AND due_at < now() AS late,
       placed_at, last_activity_at, flags
FROM crossdock.transfer_states;

-- The time in a field of a body's `additionalFields`, an object or an array, if it is written in ISO 8601; without a
-- time zone it is taken as UTC. Null if it is absent or cannot be read.
CREATE FUNCTION crossdock.due_date(body jsonb, field text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET timezone = 'UTC' AS $$
DECLARE
    written text := crossdock.trimmed(CASE jsonb_typeof(body -> 'additionalFields')
        WHEN 'object' THEN body #>> ARRAY['additionalFields', field]
        WHEN 'array' THEN (
            SELECT item.value ->> 'value'
            FROM jsonb_array_elements(body -> 'additionalFields') WITH ORDINALITY item
            WHERE item.value ->> 'name' = field AND crossdock.trimmed(item.value ->> 'value') <> ''
            ORDER BY item.ordinality
            LIMIT 1)
    END);
BEGIN
    RETURN CASE WHEN written ~ '^2\d\d\d-\d\d-\d\d([T ]|$)' THEN written::timestamptz END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

-- The transfers that these documents are, or belong to, or belonged to in an earlier version: ids of transfer orders.
-- `account || ''` keeps the planner from looking up all orders of an account while it knows nothing of a new table yet.
CREATE FUNCTION crossdock.transfers_of_documents(ids bigint[]) RETURNS SETOF bigint
LANGUAGE sql STABLE ROWS 300 AS $$
    WITH document AS MATERIALIZED (
        SELECT d.id, d.account, d.type, d.version, d.order_ref, d.warehouse_ref
        FROM unnest(ids) AS requested (id)
        JOIN crossdock.documents d ON d.id = requested.id
        WHERE d.platform = 'channelape'
    ), reference AS MATERIALIZED (
        SELECT account, order_ref, warehouse_ref FROM document WHERE type <> 'channelape.stock_transfer_order'
        UNION
        SELECT document.account, v.order_ref, v.warehouse_ref
        FROM document
        JOIN crossdock.versions v ON v.document_id = document.id
        WHERE document.version > 1 AND document.type <> 'channelape.stock_transfer_order'
    )
    SELECT id FROM document WHERE type = 'channelape.stock_transfer_order'
    UNION
    SELECT sto.id
    FROM reference
    JOIN crossdock.documents sto ON sto.key = reference.order_ref AND sto.account || '' = reference.account
    WHERE sto.platform = 'channelape' AND sto.type = 'channelape.stock_transfer_order'
    UNION
    SELECT sto.id
    FROM reference
    JOIN crossdock.documents sto
        ON sto.warehouse_ref = reference.warehouse_ref AND sto.account || '' = reference.account
    WHERE reference.order_ref IS NULL AND sto.platform = 'channelape'
      AND sto.type = 'channelape.stock_transfer_order'
$$;

-- The rows of these documents, as far as they are transfer orders, out of the newest versions. Quantities are those of
-- `transfer_progress`; nothing has moved of an order without further documents, so the view is not needed for it.
CREATE FUNCTION crossdock.compute_transfers(ids bigint[]) RETURNS SETOF crossdock.transfer_states
LANGUAGE sql STABLE ROWS 300 AS $$
    -- What is indexed is cut to what fits into an index, because earlier releases stored names of any length.
    SELECT sto.id, sto.account, sto.key, sto.order_number, left(sto.ship_from, 512), left(sto.ship_to, 512),
           total.ordered, total.shipped, total.announced, total.received, total.damaged, total.outstanding,
           total.missing, moved.cartons,
           CASE WHEN total.received > 0 AND total.missing > 0 THEN 'partly_received'
                WHEN total.received > 0 AND total.surplus > 0 THEN 'over_received'
                WHEN total.received > 0 THEN 'received'
                WHEN total.shipped > 0 OR total.announced > 0 THEN 'in_transit'
                ELSE 'ordered' END,
           coalesce(moved.due_at, CASE WHEN v.due_at = '-infinity'
                                       THEN crossdock.due_date((SELECT e.body FROM crossdock.events e
                                                                WHERE e.id = v.id AND e.received_at = v.received_at),
                                                               'deliver_by_date')
                                       ELSE v.due_at END),
           left(v.placed_at, 100), greatest(sto.received_at, moved.last_activity_at),
           total.flags || array_remove(ARRAY[
               CASE WHEN total.is_more THEN 'more_than_ordered' END,
               CASE WHEN moved.is_not_ordered AND NOT 'not_ordered' = ANY (total.flags) THEN 'not_ordered' END,
               CASE WHEN total.is_early THEN 'received_before_shipped' END,
               CASE WHEN moved.is_short THEN 'short' END
           ], NULL)
    FROM unnest(ids) AS requested (id)
    JOIN crossdock.documents sto ON sto.id = requested.id
    JOIN crossdock.versions v ON v.id = sto.version_id AND v.received_at = sto.received_at
    CROSS JOIN LATERAL (
        WITH linked_document AS (
            SELECT d.key, d.type, d.version_id, d.received_at
            FROM crossdock.documents d
            WHERE d.order_ref = sto.key AND d.account = sto.account
            UNION ALL
            SELECT d.key, d.type, d.version_id, d.received_at
            FROM crossdock.documents d
            WHERE d.warehouse_ref = sto.warehouse_ref AND num_nulls(d.order_ref) = 1 AND d.account = sto.account
        ), linked AS MATERIALIZED (
            SELECT d.key, d.type, d.version_id, d.received_at, lv.message_id, lv.lines,
                   d.type = 'channelape.receipt_confirmation' AS is_receipt,
                   coalesce(lv.shipped_at, lv.received_at) AS shipped_at,
                   CASE WHEN lv.due_at <> '-infinity' THEN lv.due_at
                        WHEN lv.due_at = '-infinity' AND d.type <> 'channelape.receipt_confirmation'
                        THEN crossdock.due_date((SELECT e.body FROM crossdock.events e
                                                 WHERE e.id = lv.id AND e.received_at = lv.received_at),
                                                'EstimatedArrivalDate') END AS due_at
            FROM linked_document d
            JOIN crossdock.versions lv ON lv.id = d.version_id AND lv.received_at = d.received_at
            WHERE d.type IN ('channelape.ship_confirmation', 'channelape.advanced_ship_notice',
                             'channelape.receipt_confirmation')
        ), line AS MATERIALIZED (
            SELECT id, article, id IS DISTINCT FROM article AS has_own_id
            FROM crossdock.lines(v.lines)
            WHERE EXISTS (SELECT FROM linked)
        ), moved_line AS (
            -- As in `transfer_progress`: by an id that the order has, or else by article.
            SELECT linked.version_id, linked.type, linked.is_receipt, l.quantity, l.received,
                   coalesce((l.id IS DISTINCT FROM l.article AND l.id IN (SELECT id FROM line WHERE has_own_id))
                            OR l.article IN (SELECT article FROM line), false) AS is_ordered
            FROM linked
            CROSS JOIN LATERAL crossdock.lines(linked.lines) l
        ), newest_shipment AS (
            -- The part of a key before its slash is the shipment, whatever its carton.
            SELECT split_part(key, '/', 1) AS id
            FROM linked
            WHERE NOT is_receipt
            ORDER BY shipped_at DESC, received_at DESC, message_id DESC
            LIMIT 1
        )
        SELECT count(DISTINCT version_id) FILTER (WHERE is_ordered AND type = 'channelape.ship_confirmation') AS cartons,
               coalesce(bool_or(received < quantity) FILTER (WHERE is_receipt), false) AS is_short,
               coalesce(bool_or(NOT is_ordered AND coalesce(CASE WHEN is_receipt THEN received ELSE quantity END, 0) <> 0),
                        false) AS is_not_ordered,
               (SELECT linked.due_at
                FROM linked
                JOIN newest_shipment ON newest_shipment.id = split_part(linked.key, '/', 1)
                WHERE NOT linked.is_receipt AND linked.due_at IS NOT NULL
                ORDER BY linked.received_at DESC, linked.message_id DESC
                LIMIT 1) AS due_at,
               (SELECT max(linked.received_at) FROM linked) AS last_activity_at,
               (SELECT count(*) FROM linked) AS documents
        FROM moved_line
    ) moved
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(p.ordered), 0) AS ordered, coalesce(sum(p.shipped), 0) AS shipped,
               coalesce(sum(p.announced), 0) AS announced, coalesce(sum(p.received), 0) AS received,
               coalesce(sum(p.damaged), 0) AS damaged, coalesce(sum(p.outstanding), 0) AS outstanding,
               coalesce(sum(p.outstanding) FILTER (WHERE p.outstanding > 0), 0) AS missing,
               coalesce(sum(-p.outstanding) FILTER (WHERE p.outstanding < 0), 0) AS surplus,
               coalesce(bool_or(greatest(p.shipped, p.announced, p.received) > p.ordered), false) AS is_more,
               coalesce(bool_or(p.received > greatest(p.shipped, p.announced)), false) AS is_early,
               coalesce(min(p.flags), '{}') AS flags  -- every line has the same
        FROM (
            SELECT tp.ordered, tp.shipped, tp.announced, tp.received, tp.damaged, tp.outstanding, tp.flags
            FROM crossdock.transfer_progress tp
            WHERE moved.documents > 0 AND tp.channel_order_id = sto.key AND tp.account || '' = sto.account
            UNION ALL
            SELECT l.quantity, 0, 0, 0, 0, l.quantity,
                   CASE WHEN 'unreadable_number' = ANY (v.flags) THEN '{unreadable_number}'::text[] ELSE '{}' END
            FROM crossdock.lines(v.lines) l
            WHERE moved.documents = 0
        ) p
    ) total
    WHERE sto.platform = 'channelape' AND sto.type = 'channelape.stock_transfer_order'
    ORDER BY sto.id  -- one order of locks for all who write
$$;

-- Documents are deleted with their month, or merged with others: what they added to a transfer goes, and a transfer goes
-- with its order. In pieces, so that no change is large to compute.
CREATE FUNCTION crossdock.note_deleted_documents() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM crossdock.transfer_states
    WHERE document_id IN (
        SELECT s.document_id
        FROM deleted
        JOIN crossdock.transfer_states s ON s.document_id = deleted.id
        WHERE deleted.platform = 'channelape' AND deleted.type = 'channelape.stock_transfer_order'
        ORDER BY s.document_id
        FOR UPDATE OF s
    );
    INSERT INTO crossdock.transfer_changes (document_ids)
    SELECT array_agg(transfer.id)
    FROM (
        SELECT affected.id, (row_number() OVER (ORDER BY affected.id) - 1) / 200 AS piece
        FROM (
            SELECT sto.id
            FROM deleted
            JOIN crossdock.documents sto ON sto.key = deleted.order_ref AND sto.account = deleted.account
            WHERE deleted.platform = 'channelape' AND sto.platform = 'channelape'
              AND sto.type = 'channelape.stock_transfer_order'
            UNION
            SELECT sto.id
            FROM deleted
            JOIN crossdock.documents sto ON sto.warehouse_ref = deleted.warehouse_ref AND sto.account = deleted.account
            WHERE deleted.order_ref IS NULL AND deleted.platform = 'channelape' AND sto.platform = 'channelape'
              AND sto.type = 'channelape.stock_transfer_order'
        ) affected
    ) transfer
    GROUP BY transfer.piece;
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_deleted AFTER DELETE ON crossdock.documents
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION crossdock.note_deleted_documents();
