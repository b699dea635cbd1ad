-- Events that announce an erasure, written in the transaction that erases, until a store worker has published them.
CREATE TABLE crossdock.erased_events (
    id          uuid        NOT NULL PRIMARY KEY,
    document_id bigint      NOT NULL,
    version     integer     NOT NULL,
    erased_at   timestamptz NOT NULL DEFAULT now(),
    platform    text        NOT NULL,
    account     text        NOT NULL,
    key         text        NOT NULL,
    data        bytea       NOT NULL  -- keys and ids
);
CREATE INDEX erased_events_oldest ON crossdock.erased_events (erased_at, id);
