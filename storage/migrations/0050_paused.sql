-- A subscriber that answers 429 or 503 with Retry-After is left alone until then, by every worker and over restarts.

ALTER TABLE crossdock.subscribed ADD COLUMN paused_until timestamptz;

-- Who moves to another URL, or is enabled again by a person, starts afresh: it was the old server that asked to wait.
CREATE FUNCTION crossdock.end_pause() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.paused_until := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER subscribed_end_pause BEFORE UPDATE OF url, enabled ON crossdock.subscribed
    FOR EACH ROW
    WHEN (OLD.paused_until IS NOT NULL AND (NEW.url <> OLD.url OR (NEW.enabled AND NOT OLD.enabled)))
    EXECUTE FUNCTION crossdock.end_pause();
