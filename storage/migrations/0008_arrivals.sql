-- How often each account's webhooks come, by the hour: what is usual, so that silence is noticed.
CREATE TABLE crossdock.arrivals (
    platform text        NOT NULL,
    account  text        NOT NULL,
    hour     timestamptz NOT NULL,
    count    bigint      NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (platform, account, hour)
);
