-- The transfers whose documents disagree, the newest activity first: what the console filters by, and counts on its first page.
CREATE INDEX CONCURRENTLY transfer_states_disagreements ON crossdock.transfer_states (last_activity_at, document_id)
    WHERE flags <> '{}';
