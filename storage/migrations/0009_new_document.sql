-- A document as a store worker hands it in. One array of these is encoded, sent and read in two thirds of the time that
-- an array a column takes.
CREATE TYPE crossdock.new_document AS (
    platform         text,
    account          text,
    type             text,
    key              text,
    received_at      timestamptz,
    last_received_at timestamptz,
    version_id       uuid,
    version          integer,
    times_received   integer,
    digest           bytea,
    order_number     text,
    order_ref        text,
    warehouse_ref    text,
    ship_from        text,
    ship_to          text
);
