-- What is stored. Receipts are the truth, one row per accepted post, never changed; documents and versions are derived
-- from them (workers/store/versions.py) and could be made again. The views people use are in 0003.
--
-- Layout for speed: one narrow row per business key that every repeat of it updates in place (documents), wide rows
-- that are written once (receipts, versions), lines inside their version, few indexes, no foreign keys or triggers.

-- One row per accepted post. Partitioned by month; the key is time first, so that it grows at its right end.
CREATE TABLE crossdock.receipts (
    received_at  timestamptz NOT NULL,
    message_id   uuid        NOT NULL,
    document_id  bigint      NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    digest       bytea       NOT NULL,
    event        text        NOT NULL,
    flags        text[]      NOT NULL,
    content_type text,
    traceparent  text,
    raw          bytea       NOT NULL,
    PRIMARY KEY (received_at, message_id)
) PARTITION BY RANGE (received_at);
-- Late posts look at their document's receipts from some moment on.
CREATE INDEX receipts_document ON crossdock.receipts (document_id, received_at);

-- One row per business key, with what must be known of its newest version to place the next receipt. The counters of
-- the newest version live here, those of older ones in their own row.
CREATE TABLE crossdock.documents (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at      timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    version_id       uuid        NOT NULL,
    version          integer     NOT NULL,
    times_received   integer     NOT NULL,
    digest           bytea       NOT NULL,
    platform         text        NOT NULL,
    account          text        NOT NULL,
    type             text        NOT NULL,
    key              text        NOT NULL,
    order_number     text,
    order_ref        text,
    warehouse_ref    text,
    ship_from        text,
    ship_to          text
) WITH (fillfactor = 85);  -- room for the counters to be updated within the page
-- Key first: people look for a key without saying whose it is.
CREATE UNIQUE INDEX documents_identity ON crossdock.documents (key, account, type, platform);
CREATE INDEX documents_order_number ON crossdock.documents (order_number) WHERE order_number IS NOT NULL;
CREATE INDEX documents_order_ref ON crossdock.documents (order_ref, account) WHERE order_ref IS NOT NULL;
-- For documents that only say the warehouse's number, and the transfer orders they then belong to.
CREATE INDEX documents_warehouse_ref ON crossdock.documents (warehouse_ref, account)
    WHERE warehouse_ref IS NOT NULL AND (order_ref IS NULL OR type = 'channelape.stock_transfer_order');

-- One row per version: a run of receipts with the same content. received_at and message_id are its first receipt's.
CREATE TABLE crossdock.versions (
    id                uuid        NOT NULL,
    document_id       bigint      NOT NULL,
    received_at       timestamptz NOT NULL,
    last_received_at  timestamptz NOT NULL,
    stored_at         timestamptz NOT NULL DEFAULT now(),
    message_id        uuid        NOT NULL,
    version           integer     NOT NULL,
    times_received    integer     NOT NULL,
    occurrence        integer     NOT NULL,  -- how many earlier versions of the document had the same digest
    digest            bytea       NOT NULL,
    shipped_at        timestamptz,
    goods_received_at timestamp,
    flags             text[]      NOT NULL,
    order_number      text,
    order_ref         text,
    warehouse_ref     text,
    carton            text,
    ship_from         text,
    ship_to           text,
    placed_at         text,
    lines             jsonb       NOT NULL,
    body              jsonb,
    PRIMARY KEY (id, received_at)
) PARTITION BY RANGE (received_at);
CREATE INDEX versions_document ON crossdock.versions (document_id, received_at);
-- Almost free to keep, and enough for "everything from … to …": rows come nearly in the order of time.
CREATE INDEX versions_received ON crossdock.versions USING brin (received_at);

-- What the route worker answered, one row per answered request; and what that comes to per order item: the newest
-- record's, since when it has been so.
CREATE TABLE crossdock.allocation_records (
    document_id bigint      NOT NULL,
    received_at timestamptz NOT NULL,
    message_id  uuid        NOT NULL,
    version_id  uuid        NOT NULL,
    items       jsonb       NOT NULL,
    announced   jsonb,  -- the manufacturers that this record had news for; null: it came late and told nobody
    PRIMARY KEY (document_id, received_at, message_id)
);
CREATE TABLE crossdock.allocated_items (
    document_id      bigint      NOT NULL,
    allocated_at     timestamptz NOT NULL,
    order_product_id text        NOT NULL,
    manufacturer_id  text        NOT NULL,
    rule             text,
    detail           text,
    PRIMARY KEY (document_id, order_product_id)
);

-- Authentic messages that could not be processed, whole.
CREATE TABLE crossdock.quarantined (
    id           uuid        NOT NULL PRIMARY KEY,
    received_at  timestamptz NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    replayed_at  timestamptz,
    discarded_at timestamptz,
    platform     text        NOT NULL,
    account      text        NOT NULL,
    event        text        NOT NULL,
    reason       text        NOT NULL,
    content_type text,
    traceparent  text,
    raw          bytea       NOT NULL
);
CREATE INDEX quarantined_received ON crossdock.quarantined (received_at, id);

-- lz4 packs several times faster than PostgreSQL's own pglz; a server built without it keeps the default.
DO $$
BEGIN
    ALTER TABLE crossdock.receipts ALTER COLUMN raw SET COMPRESSION lz4;
    ALTER TABLE crossdock.versions ALTER COLUMN body SET COMPRESSION lz4;
    ALTER TABLE crossdock.versions ALTER COLUMN lines SET COMPRESSION lz4;
    ALTER TABLE crossdock.quarantined ALTER COLUMN raw SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    RAISE NOTICE 'this server has no lz4';
END
$$;
