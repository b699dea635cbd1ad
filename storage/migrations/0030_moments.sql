-- Messages whose ingress's clock was far ahead, with the moment that they are filed under instead: the same message
-- delivered again must be filed under the same one.
CREATE TABLE crossdock.moments (
    message_id  uuid        NOT NULL PRIMARY KEY,
    received_at timestamptz NOT NULL
);
CREATE INDEX moments_received ON crossdock.moments (received_at);
