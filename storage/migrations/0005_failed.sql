-- Deliveries that failed lately, for `crossdock status`: there should be few, and they are looked for often.
CREATE INDEX finished_failed ON crossdock.finished (finished_at) WHERE status = 'failed';
