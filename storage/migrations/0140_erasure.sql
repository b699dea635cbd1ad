-- Erasure of personal data (contract §11): what is erased, by storage/classification.toml, and what is under way.

-- A list of objects without these members.
CREATE FUNCTION crossdock.without_members(list jsonb, members text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_agg(element - members ORDER BY place), '[]')
    FROM jsonb_array_elements(list) WITH ORDINALITY AS elements (element, place)
$$;

-- Whether the content of the document's newest version is erased: a repeat of it stays erased.
ALTER TABLE crossdock.documents ADD COLUMN erased boolean NOT NULL DEFAULT false;

-- An erased message can't be replayed.
ALTER TABLE crossdock.quarantined ADD COLUMN erased_at timestamptz;

-- Requests to erase, and the rounds of `[storage] body_days`. One that has not finished is carried on by a store worker.
CREATE TABLE crossdock.erasures (
    id             uuid        NOT NULL PRIMARY KEY,
    requested_at   timestamptz NOT NULL DEFAULT now(),
    platform       text,                            -- null: all of them, as `account`
    account        text,
    key            text,
    order_number   text,
    before         timestamptz,                     -- everything that was received before this time
    after_document bigint      NOT NULL DEFAULT 0,  -- the last document that is done
    after_at       timestamptz,                     -- the last receipt that is done, of an erasure by age
    after_id       uuid,
    touched_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    checked_at     timestamptz                      -- when what came late, such as subscribers' answers, was erased
);
CREATE INDEX erasures_open ON crossdock.erasures (touched_at) WHERE finished_at IS NULL OR checked_at IS NULL;

-- Documents that a request is erasing: it takes several transactions if they have many receipts.
CREATE TABLE crossdock.erasing (
    document_id bigint NOT NULL,
    erasure_id  uuid   NOT NULL,
    PRIMARY KEY (document_id, erasure_id)
);

-- Contents that a request erased: they stay erased when they are received again.
CREATE TABLE crossdock.erased_contents (
    document_id bigint NOT NULL,
    digest      bytea  NOT NULL,
    PRIMARY KEY (document_id, digest)
);
