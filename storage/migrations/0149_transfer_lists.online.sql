-- The transfers of an account and of a state, and those that lack something, the newest activity first: what the console
-- and `crossdock transfers` filter by.
CREATE INDEX CONCURRENTLY transfer_states_account ON crossdock.transfer_states (account, last_activity_at, document_id);
CREATE INDEX CONCURRENTLY transfer_states_state ON crossdock.transfer_states (state, last_activity_at, document_id);
CREATE INDEX CONCURRENTLY transfer_states_missing ON crossdock.transfer_states (last_activity_at, document_id)
    WHERE missing > 0;
-- Counts the late ones of each account, and lists them.
CREATE INDEX CONCURRENTLY transfer_states_account_late ON crossdock.transfer_states (account, due_at, document_id)
    WHERE missing > 0;
