-- Webhooks out. What waits is in a small table that a delivery leaves when it is finished: looking for what is due never
-- meets what is done, however much of that there is. What is done, and each attempt, is kept by month and goes with it.

CREATE TABLE crossdock.subscribed (
    id              uuid        NOT NULL PRIMARY KEY,
    subscriber      text        NOT NULL,  -- its name in the configuration; '' for the operator's own
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    url             text        NOT NULL,
    types           text[]      NOT NULL,
    accounts        text[]      NOT NULL,
    dialect         text        NOT NULL,
    webhook_type    text,                  -- of a registration at /basic/webhooks
    query_key       text,
    schedule        double precision[],    -- seconds; null: the configured one
    max_rate        double precision,      -- deliveries a second; null: no limit
    max_in_flight   integer     NOT NULL,
    enabled         boolean     NOT NULL DEFAULT true,
    disabled_reason text,
    sealed          bytea       NOT NULL,  -- secrets and authorization, encrypted (storage/vault.py)
    -- One worker at a time sends for a subscription: its rate, its limits and its breaker are then exact, and no row is
    -- written to take a delivery. The lease of one that died runs out.
    leased_by       uuid,
    leased_until    timestamptz
);
CREATE INDEX subscribed_subscriber ON crossdock.subscribed (subscriber, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE crossdock.outbox (
    id              uuid        NOT NULL PRIMARY KEY,
    subscription_id uuid        NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    received_at     timestamptz NOT NULL,  -- with message_id: the receipt whose body it is
    event_id        uuid        NOT NULL,
    message_id      uuid        NOT NULL,
    replay_id       uuid,
    document_id     bigint      NOT NULL,
    version         integer     NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    type            text        NOT NULL,
    key             text        NOT NULL,
    payload         bytea                  -- where the body isn't the receipt's: a manufacturer's part of an order
);
CREATE INDEX outbox_due ON crossdock.outbox (subscription_id, next_attempt_at, id);
-- A newer version takes the place of an older one that waits.
CREATE INDEX outbox_document ON crossdock.outbox (document_id, subscription_id);
CREATE INDEX outbox_replay ON crossdock.outbox (replay_id) WHERE replay_id IS NOT NULL;
-- It is emptied as fast as it is filled, and found through its indexes: dead rows must go soon.
ALTER TABLE crossdock.outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

CREATE TABLE crossdock.finished (
    id              uuid        NOT NULL,
    subscription_id uuid        NOT NULL,
    finished_at     timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    event_id        uuid        NOT NULL,
    message_id      uuid        NOT NULL,
    replay_id       uuid,
    document_id     bigint      NOT NULL,
    version         integer     NOT NULL,
    attempts        integer     NOT NULL,
    type            text        NOT NULL,
    key             text        NOT NULL,
    status          text        NOT NULL,
    payload         bytea,
    PRIMARY KEY (id, finished_at)
) PARTITION BY RANGE (finished_at);
CREATE INDEX finished_subscription ON crossdock.finished (subscription_id, created_at, id);
CREATE INDEX finished_document ON crossdock.finished (document_id);

CREATE TABLE crossdock.attempts (
    delivery_id uuid             NOT NULL,
    at          timestamptz      NOT NULL,
    attempt     integer          NOT NULL,
    status_code integer,
    duration_ms double precision NOT NULL,
    outcome     text             NOT NULL,
    error       text,
    response    bytea            NOT NULL,
    PRIMARY KEY (delivery_id, at)
) PARTITION BY RANGE (at);

-- Range replays. A worker writes their deliveries a piece at a time, and where it is with each piece: it carries on there.
CREATE TABLE crossdock.replays (
    id              uuid        NOT NULL PRIMARY KEY,
    subscription_id uuid        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    from_at         timestamptz NOT NULL,
    to_at           timestamptz NOT NULL,
    types           text[]      NOT NULL,
    key             text,
    count           bigint      NOT NULL,  -- events, as counted when it was asked for
    written         bigint      NOT NULL DEFAULT 0,
    after_at        timestamptz,
    after_id        uuid,
    finished_at     timestamptz
);
CREATE INDEX replays_open ON crossdock.replays (created_at) WHERE finished_at IS NULL;

-- What was answered to a POST with an Idempotency-Key. Encrypted, since it may hold a secret that is shown once.
CREATE TABLE crossdock.idempotent (
    subscriber text        NOT NULL,
    name       text        NOT NULL,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    digest     bytea       NOT NULL,       -- of the request
    status     integer,                    -- null: under way
    sealed     bytea,
    PRIMARY KEY (subscriber, name)
);
CREATE INDEX idempotent_asked ON crossdock.idempotent (asked_at);

CREATE TABLE crossdock.finished_default PARTITION OF crossdock.finished DEFAULT;
CREATE TABLE crossdock.attempts_default PARTITION OF crossdock.attempts DEFAULT;
SELECT crossdock.lay_out('finished_default'), crossdock.lay_out('attempts_default');

-- As in 0002, for tables whose months are not by received_at.
CREATE OR REPLACE FUNCTION crossdock.make_partition(parent text, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    month_start timestamptz := date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    month_end   timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    partition   text        := parent || to_char(moment AT TIME ZONE 'UTC', '"_"YYYY"_"MM');
    moment_of   text;
BEGIN
    IF to_regclass(format('crossdock.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Everyone who comes now waits here, at the parent, before choosing or locking a partition: so the default partition
    -- is free when it is needed below, and nobody can wait in a circle. Two makers come one after the other.
    EXECUTE format('LOCK TABLE ONLY crossdock.%I IN ACCESS EXCLUSIVE MODE', parent);
    IF to_regclass(format('crossdock.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    SELECT attname INTO moment_of
    FROM pg_partitioned_table
    JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
    WHERE partrelid = format('crossdock.%I', parent)::regclass;
    EXECUTE format(
        'CREATE TABLE crossdock.%I (LIKE crossdock.%I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)',
        partition, parent);
    PERFORM crossdock.lay_out(partition);
    EXECUTE format(
        'WITH moved AS (DELETE FROM crossdock.%I WHERE %I >= %L AND %I < %L RETURNING *) '
        'INSERT INTO crossdock.%I SELECT * FROM moved', parent || '_default', moment_of, month_start, moment_of, month_end,
        partition);
    EXECUTE format(
        'ALTER TABLE crossdock.%I ATTACH PARTITION crossdock.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition, month_start, month_end);
    RETURN true;
END
$$;

-- Whether a pattern such as `channelape.*` fits; `*` stands for anything.
CREATE FUNCTION crossdock.fits(name text, patterns text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT name LIKE ANY (
        SELECT replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
        FROM unnest(patterns) pattern)
$$;

CREATE VIEW crossdock.subscriptions AS
SELECT id, subscriber, split_part(url, '?', 1) AS url, types, accounts, dialect, webhook_type, schedule, max_rate,
       max_in_flight, enabled, disabled_reason, created_at, updated_at
FROM crossdock.subscribed
WHERE deleted_at IS NULL;

CREATE VIEW crossdock.deliveries AS
SELECT id, subscription_id, event_id, type, key, 'pending' AS status, attempts, next_attempt_at, created_at,
       NULL::timestamptz AS finished_at, version, replay_id, document_id
FROM crossdock.outbox
UNION ALL
SELECT id, subscription_id, event_id, type, key, status, attempts, NULL::timestamptz, created_at,
       finished_at, version, replay_id, document_id
FROM crossdock.finished;

CREATE VIEW crossdock.delivery_attempts AS
SELECT delivery_id, attempt, at, outcome, status_code, duration_ms, response, error
FROM crossdock.attempts;
