-- What an erasure (0140) must do where bodies are stored once (0151) and where an index holds an expression (0150).

-- The due date of a version of a transfer that an older release stored without reading it (0120): it is in the body.
CREATE FUNCTION crossdock.due_at_of(version_id uuid, version_received_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT crossdock.due_date(e.body, CASE WHEN e.type = 'channelape.stock_transfer_order' THEN 'deliver_by_date'
                                           ELSE 'EstimatedArrivalDate' END)
    FROM crossdock.events e
    WHERE e.id = version_id AND e.received_at = version_received_at AND e.platform = 'channelape'
$$;

-- The planner keeps samples of what an index computes, here of the beginnings of reasons, which may quote a body. An
-- erasure has those of columns made again, but those of an index without any row left would stay: none are taken. An
-- index that was sampled since 0150 is created anew; few messages are in this table.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stats
               WHERE schemaname = 'crossdock' AND tablename IN ('quarantined_reason', 'quarantined_open_reason')) THEN
        DROP INDEX crossdock.quarantined_reason, crossdock.quarantined_open_reason;
        CREATE INDEX quarantined_reason ON crossdock.quarantined (left(reason, 200), received_at, id);
        CREATE INDEX quarantined_open_reason ON crossdock.quarantined (left(reason, 200), received_at, id)
            WHERE replayed_at IS NULL AND discarded_at IS NULL;
    END IF;
END
$$;
ALTER INDEX crossdock.quarantined_reason ALTER COLUMN 1 SET STATISTICS 0;
ALTER INDEX crossdock.quarantined_open_reason ALTER COLUMN 1 SET STATISTICS 0;
