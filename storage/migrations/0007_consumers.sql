-- Systems that have a queue of their own on crossdock.events: AMQP 0-9-1 can't list queues, so who was added is kept.
CREATE TABLE crossdock.consumers (
    name         text        NOT NULL PRIMARY KEY,
    types        text[]      NOT NULL,
    accounts     text[]      NOT NULL,
    max_messages bigint      NOT NULL,
    max_bytes    bigint      NOT NULL,
    username     text,                          -- of a RabbitMQ user that may only read its queues
    created_at   timestamptz NOT NULL DEFAULT now()
);
