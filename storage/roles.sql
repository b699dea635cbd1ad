-- What each role may do (contract §13): one statement per role and object. `crossdock migrate` executes what is missing,
-- and `crossdock roles` prints it. Partitions need nothing, because access through their parent is checked there.
-- Nothing is ever revoked here, because an older release may still need it: that belongs in a `post` migration.

-- People who query. The views are accessed with the rights of their owner, and none of them shows a secret.
GRANT USAGE ON SCHEMA crossdock TO crossdock_reader;
GRANT SELECT ON crossdock.events TO crossdock_reader;
GRANT SELECT ON crossdock.current_events TO crossdock_reader;
GRANT SELECT ON crossdock.transfer_progress TO crossdock_reader;
GRANT SELECT ON crossdock.transfers TO crossdock_reader;
GRANT SELECT ON crossdock.orders TO crossdock_reader;
GRANT SELECT ON crossdock.cancelled TO crossdock_reader;
GRANT SELECT ON crossdock.allocations TO crossdock_reader;
GRANT SELECT ON crossdock.quarantine TO crossdock_reader;
GRANT SELECT ON crossdock.subscriptions TO crossdock_reader;
GRANT SELECT ON crossdock.deliveries TO crossdock_reader;
GRANT SELECT ON crossdock.delivery_attempts TO crossdock_reader;
GRANT SELECT ON crossdock.activity TO crossdock_reader;
GRANT SELECT ON crossdock.operator_actions TO crossdock_reader;
GRANT EXECUTE ON FUNCTION crossdock.body_of(bytea) TO crossdock_reader;
GRANT EXECUTE ON FUNCTION crossdock.lines(jsonb) TO crossdock_reader;
GRANT EXECUTE ON FUNCTION crossdock.flipped(text, text, text, text) TO crossdock_reader;
GRANT EXECUTE ON FUNCTION crossdock.trimmed(text) TO crossdock_reader;
GRANT EXECUTE ON FUNCTION crossdock.share(numeric, numeric, numeric, boolean) TO crossdock_reader;

-- The store worker: it writes what is received, keeps what is computed from it, finishes erasures, and deletes what is
-- older than the retention, in all tables. A receipt never changes, except that it can move to another document and that
-- its content can be erased. Of subscriptions it sees what they select.
GRANT USAGE ON SCHEMA crossdock TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (document_id, raw, flags) ON crossdock.receipts TO crossdock_store;
GRANT SELECT, INSERT, UPDATE, DELETE ON crossdock.versions TO crossdock_store;
GRANT SELECT, INSERT, UPDATE, DELETE ON crossdock.documents TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (cartons, changed_at), DELETE ON crossdock.shipments TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (received_at), DELETE ON crossdock.moments TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (items), DELETE ON crossdock.allocation_records TO crossdock_store;
GRANT SELECT (document_id, allocated_at, detail), INSERT, UPDATE (detail), DELETE ON crossdock.allocated_items
    TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (reason, stage, attempts, replayed_at, discarded_at, raw, erased_at), DELETE
    ON crossdock.quarantined TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (document_id), DELETE ON crossdock.outbox TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (document_id, payload) ON crossdock.finished TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (response, error) ON crossdock.attempts TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (count, first_at, last_at), DELETE ON crossdock.arrivals TO crossdock_store;
GRANT SELECT ON crossdock.consumers TO crossdock_store;
GRANT SELECT (id, subscriber, types, accounts, dialect, schedule, enabled, deleted_at, filter), DELETE
    ON crossdock.subscribed TO crossdock_store;
GRANT SELECT (id, created_at, finished_at), DELETE ON crossdock.replays TO crossdock_store;
GRANT SELECT (subscriber, name, asked_at), DELETE ON crossdock.idempotent TO crossdock_store;
GRANT SELECT (platform, account, due_at, leased_until) ON crossdock.polls TO crossdock_store;
GRANT SELECT (platform, account, key), DELETE ON crossdock.polled TO crossdock_store;
GRANT SELECT, DELETE ON crossdock.poll_limits TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (document_id) ON crossdock.identifiers TO crossdock_store;
GRANT SELECT, UPDATE (before_at, before_id, finished_at) ON crossdock.identifier_rounds TO crossdock_store;
GRANT SELECT, INSERT, UPDATE (retry_at), DELETE ON crossdock.transfer_changes TO crossdock_store;
GRANT SELECT, INSERT, UPDATE, DELETE ON crossdock.transfer_states TO crossdock_store;
GRANT SELECT, UPDATE ON crossdock.transfer_fill TO crossdock_store;
GRANT SELECT ON crossdock.transfers TO crossdock_store;
GRANT SELECT ON crossdock.transfer_progress TO crossdock_store;
GRANT SELECT ON crossdock.events TO crossdock_store;
GRANT SELECT, INSERT, UPDATE, DELETE ON crossdock.erasures TO crossdock_store;
GRANT SELECT, INSERT, DELETE ON crossdock.erasing TO crossdock_store;
GRANT SELECT, INSERT, DELETE ON crossdock.erased_contents TO crossdock_store;
GRANT SELECT, INSERT, UPDATE, DELETE ON crossdock.erased_events TO crossdock_store;
GRANT SELECT (id, at), DELETE ON crossdock.actions TO crossdock_store;
GRANT SELECT (id, created_at), DELETE ON crossdock.jobs TO crossdock_store;
GRANT SELECT, DELETE ON crossdock.identifiers_default TO crossdock_store;
GRANT SELECT (received_at, message_id), DELETE ON crossdock.receipts_default TO crossdock_store;
GRANT SELECT (id, received_at), DELETE ON crossdock.versions_default TO crossdock_store;
GRANT SELECT (id, finished_at), DELETE ON crossdock.finished_default TO crossdock_store;
GRANT SELECT (delivery_id, at), DELETE ON crossdock.attempts_default TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.make_partition(text, timestamptz) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.drop_partition(text) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.partitions_before(text, timestamptz) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.merge_documents(bigint, bigint[], text) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.merge_identifiers() TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.forget_samples(text, text[]) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.sampled_columns() TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.without_members(jsonb, text[]) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.compute_transfers(bigint[]) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.transfers_of_documents(bigint[]) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.due_date(jsonb, text) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.due_at_of(uuid, timestamptz) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.body_of(bytea) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.lines(jsonb) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.flipped(text, text, text, text) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.trimmed(text) TO crossdock_store;
GRANT EXECUTE ON FUNCTION crossdock.share(numeric, numeric, numeric, boolean) TO crossdock_store;

-- The deliver worker: it leases subscriptions, pauses, disables and encrypts them anew, and writes deliveries.
GRANT USAGE ON SCHEMA crossdock TO crossdock_deliver;
GRANT SELECT, UPDATE (leased_by, leased_until, paused_until, enabled, disabled_reason, updated_at, sealed)
    ON crossdock.subscribed TO crossdock_deliver;
GRANT SELECT, INSERT, UPDATE (attempts, next_attempt_at), DELETE ON crossdock.outbox TO crossdock_deliver;
GRANT SELECT (id), INSERT ON crossdock.finished TO crossdock_deliver;
GRANT SELECT (delivery_id, error), INSERT ON crossdock.attempts TO crossdock_deliver;
GRANT SELECT ON crossdock.documents TO crossdock_deliver;
GRANT SELECT ON crossdock.versions TO crossdock_deliver;
GRANT SELECT ON crossdock.receipts TO crossdock_deliver;
GRANT SELECT, UPDATE (written, after_at, after_id, finished_at) ON crossdock.replays TO crossdock_deliver;
GRANT SELECT (subscriber, name, sealed), UPDATE (sealed) ON crossdock.idempotent TO crossdock_deliver;

-- The API: subscriptions with their secrets, which it shows to their owner; deliveries, and replays.
GRANT USAGE ON SCHEMA crossdock TO crossdock_api;
GRANT SELECT, INSERT, UPDATE ON crossdock.subscribed TO crossdock_api;
GRANT SELECT, INSERT, UPDATE (next_attempt_at), DELETE ON crossdock.outbox TO crossdock_api;
GRANT SELECT, INSERT, DELETE ON crossdock.finished TO crossdock_api;
GRANT SELECT ON crossdock.deliveries TO crossdock_api;
GRANT SELECT ON crossdock.delivery_attempts TO crossdock_api;
GRANT SELECT ON crossdock.documents TO crossdock_api;
GRANT SELECT ON crossdock.versions TO crossdock_api;
GRANT SELECT ON crossdock.receipts TO crossdock_api;
GRANT SELECT, INSERT, UPDATE (finished_at) ON crossdock.replays TO crossdock_api;
GRANT SELECT ON crossdock.identifiers TO crossdock_api;
GRANT SELECT (round, before_at, finished_at) ON crossdock.identifier_rounds TO crossdock_api;
GRANT SELECT (id, platform, account, event, stage, reason, received_at, replayed_at, discarded_at)
    ON crossdock.quarantined TO crossdock_api;
GRANT SELECT, INSERT, UPDATE (status, sealed) ON crossdock.idempotent TO crossdock_api;

-- Operators: what the console shows and changes, and what `crossdock status`, `trace`, `quarantine` and `deliveries`
-- need. It rotates secrets, and therefore sees them sealed.
GRANT USAGE ON SCHEMA crossdock TO crossdock_console;
GRANT SELECT ON crossdock.events TO crossdock_console;
GRANT SELECT ON crossdock.current_events TO crossdock_console;
GRANT SELECT ON crossdock.transfer_progress TO crossdock_console;
GRANT SELECT ON crossdock.transfers TO crossdock_console;
GRANT SELECT ON crossdock.transfer_states TO crossdock_console;
GRANT SELECT ON crossdock.orders TO crossdock_console;
GRANT SELECT ON crossdock.cancelled TO crossdock_console;
GRANT SELECT ON crossdock.allocations TO crossdock_console;
GRANT SELECT ON crossdock.quarantine TO crossdock_console;
GRANT SELECT ON crossdock.subscriptions TO crossdock_console;
GRANT SELECT ON crossdock.deliveries TO crossdock_console;
GRANT SELECT ON crossdock.delivery_attempts TO crossdock_console;
GRANT SELECT ON crossdock.activity TO crossdock_console;
GRANT SELECT ON crossdock.documents TO crossdock_console;
GRANT SELECT ON crossdock.versions TO crossdock_console;
GRANT SELECT ON crossdock.receipts TO crossdock_console;
GRANT SELECT ON crossdock.allocation_records TO crossdock_console;
GRANT SELECT ON crossdock.allocated_items TO crossdock_console;
GRANT SELECT, UPDATE (replayed_at, discarded_at) ON crossdock.quarantined TO crossdock_console;
GRANT SELECT, INSERT, UPDATE (next_attempt_at), DELETE ON crossdock.outbox TO crossdock_console;
GRANT SELECT, INSERT, DELETE ON crossdock.finished TO crossdock_console;
GRANT SELECT ON crossdock.attempts TO crossdock_console;
GRANT SELECT, UPDATE ON crossdock.subscribed TO crossdock_console;
GRANT SELECT, INSERT, UPDATE (finished_at, stopped_at) ON crossdock.replays TO crossdock_console;
GRANT SELECT ON crossdock.operator_actions TO crossdock_console;
GRANT SELECT, INSERT ON crossdock.actions TO crossdock_console;
GRANT SELECT, INSERT, UPDATE (done, failed, problem, waits, after_at, after_id, try_first, tried_id, tried_attempts,
    tried_at, touched_at, stop_asked, finished_at, outcome) ON crossdock.jobs TO crossdock_console;
GRANT SELECT, INSERT, DELETE ON crossdock.login_links TO crossdock_console;
GRANT SELECT ON crossdock.identifiers TO crossdock_console;
GRANT SELECT (round, before_at, finished_at) ON crossdock.identifier_rounds TO crossdock_console;
GRANT SELECT ON crossdock.transfer_fill TO crossdock_console;
GRANT SELECT (noted_at) ON crossdock.transfer_changes TO crossdock_console;
GRANT SELECT ON crossdock.arrivals TO crossdock_console;
GRANT SELECT ON crossdock.consumers TO crossdock_console;
GRANT SELECT (platform, account, failures, last_error, last_ok_at, last_failed_at, due_at) ON crossdock.polls TO crossdock_console;
GRANT SELECT (platform, account, key, order_number, finished_at), INSERT ON crossdock.erasures TO crossdock_console;
GRANT EXECUTE ON FUNCTION crossdock.body_of(bytea) TO crossdock_console;
GRANT EXECUTE ON FUNCTION crossdock.lines(jsonb) TO crossdock_console;
GRANT EXECUTE ON FUNCTION crossdock.flipped(text, text, text, text) TO crossdock_console;
GRANT EXECUTE ON FUNCTION crossdock.trimmed(text) TO crossdock_console;
GRANT EXECUTE ON FUNCTION crossdock.share(numeric, numeric, numeric, boolean) TO crossdock_console;

-- The poll worker: how far each account has been read, and nothing of what has been received.
GRANT USAGE ON SCHEMA crossdock TO crossdock_poll;
GRANT SELECT, INSERT, UPDATE ON crossdock.polls TO crossdock_poll;
GRANT SELECT, INSERT, UPDATE (digest), DELETE ON crossdock.polled TO crossdock_poll;
GRANT SELECT, INSERT, UPDATE (next_at) ON crossdock.poll_limits TO crossdock_poll;
