-- Orders that we ask for, where nobody posts them: how far each account has been read, and what is known of the orders
-- that are listed again and again.

CREATE TABLE crossdock.polls (
    platform     text        NOT NULL,
    account      text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Everything ordered before it has been published. It starts where the account was first seen: who wants older
    -- orders sets it back.
    cursor       timestamptz NOT NULL DEFAULT now(),
    -- The newest order of the last complete round. The cursor gets there a round later: pages shift while they are
    -- read, and what slipped through between two of them is found by the round that asks from the old cursor again.
    reached      timestamptz,
    due_at       timestamptz NOT NULL DEFAULT now(),
    failures     integer     NOT NULL DEFAULT 0,  -- in a row
    last_ok_at   timestamptz,
    last_error   text,                            -- of the last poll, if it failed; never a secret
    -- One worker at a time polls for an account. The lease of one that died runs out.
    leased_by    uuid,
    leased_until timestamptz,
    PRIMARY KEY (platform, account)
);

-- The orders that were published and are still listed, by digest of their id, with the digest of their content: the
-- rounds overlap by days, and only what is new or was changed is published. As long as the overlap, and no longer.
CREATE TABLE crossdock.polled (
    platform text  NOT NULL,
    account  text  NOT NULL,
    key      bytea NOT NULL,
    digest   bytea NOT NULL,
    PRIMARY KEY (platform, account, key)
);

-- When the next request of an API client may be sent: one limit for all its accounts and all workers.
CREATE TABLE crossdock.poll_limits (
    client  bytea       NOT NULL PRIMARY KEY,  -- digest of address and client id
    next_at timestamptz NOT NULL
);
