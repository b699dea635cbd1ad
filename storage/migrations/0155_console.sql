-- The console (contract §9): what operators did, what runs on their behalf, and links that log in once.

CREATE TABLE crossdock.actions (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    operator text        NOT NULL,
    role     text        NOT NULL,
    address  text        NOT NULL,             -- the client's
    action   text        NOT NULL,             -- such as `deliveries.retry`
    subject  text        NOT NULL DEFAULT '',  -- the id of what was acted on, or the filter that selected it
    count    bigint,                           -- how many things it concerned
    note     text,
    outcome  text        NOT NULL              -- done, started, stopped, refused or failed
);
CREATE INDEX actions_newest ON crossdock.actions (at, id);

CREATE VIEW crossdock.operator_actions AS
SELECT at, operator, role, action, subject, count, note, outcome FROM crossdock.actions;

-- Actions on many things, worked off piece by piece. The filter is frozen when the operator confirms: what begins to
-- match later does not belong to it.
CREATE TABLE crossdock.jobs (
    id             uuid        NOT NULL PRIMARY KEY,  -- chosen by the form, so that a form sent twice starts one job
    created_at     timestamptz NOT NULL DEFAULT now(),
    operator       text        NOT NULL,
    role           text        NOT NULL,
    address        text        NOT NULL,
    action         text        NOT NULL,              -- such as `deliveries.retry`
    subject        text        NOT NULL,              -- the filter in words
    note           text,
    filter         jsonb       NOT NULL,
    total          bigint      NOT NULL,
    is_exact       boolean     NOT NULL,              -- whether all matches were counted
    done           bigint      NOT NULL DEFAULT 0,
    failed         bigint      NOT NULL DEFAULT 0,
    problem        text,                              -- why something failed
    waits          text,                              -- why it does not go on at present
    after_at       timestamptz,                       -- the last thing that is done
    after_id       uuid,
    try_first      boolean     NOT NULL DEFAULT false,  -- the next delivery has to arrive before all others are sent
    tried_id       uuid,                              -- the delivery whose answer the job waits for
    tried_attempts integer,                           -- its attempts before
    tried_at       timestamptz,
    touched_at     timestamptz NOT NULL DEFAULT now(),
    stop_asked     boolean     NOT NULL DEFAULT false,
    finished_at    timestamptz,
    outcome        text                               -- done, stopped or failed
);
CREATE INDEX jobs_open ON crossdock.jobs (touched_at) WHERE finished_at IS NULL;
CREATE INDEX jobs_newest ON crossdock.jobs (created_at, id);

-- Links to log in with that have been used.
CREATE TABLE crossdock.login_links (
    id      uuid        NOT NULL PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT now()
);
