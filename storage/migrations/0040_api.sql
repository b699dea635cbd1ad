-- What the API needs in order to answer any request in bounded time, and to say what a disabled subscription missed.

ALTER TABLE crossdock.subscribed
    ADD COLUMN disabled_at timestamptz,  -- when it was last disabled; it stays when the subscription is enabled again
    ADD COLUMN enabled_at  timestamptz;  -- when it was last enabled again
UPDATE crossdock.subscribed SET disabled_at = updated_at WHERE NOT enabled AND deleted_at IS NULL;
-- Nobody can send for a subscription that is gone, so nobody needs its secrets.
UPDATE crossdock.subscribed SET sealed = '' WHERE deleted_at IS NOT NULL;

-- A trigger, so that whoever disables a subscription (the API, a worker that was answered 410, a person with psql) says
-- since when. Leases, which are renewed all the time, never reach it.
CREATE FUNCTION crossdock.note_enabled() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.enabled THEN
        NEW.enabled_at := now();
    ELSE
        NEW.disabled_at := now();
        NEW.enabled_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER subscribed_enabled BEFORE UPDATE OF enabled ON crossdock.subscribed
    FOR EACH ROW WHEN (OLD.enabled IS DISTINCT FROM NEW.enabled) EXECUTE FUNCTION crossdock.note_enabled();
CREATE TRIGGER subscribed_disabled BEFORE INSERT ON crossdock.subscribed
    FOR EACH ROW WHEN (NOT NEW.enabled) EXECUTE FUNCTION crossdock.note_enabled();

CREATE OR REPLACE VIEW crossdock.subscriptions AS
SELECT id, subscriber, split_part(url, '?', 1) AS url, types, accounts, dialect, webhook_type, schedule, max_rate,
       max_in_flight, enabled, disabled_reason, created_at, updated_at,
       CASE WHEN NOT enabled THEN disabled_at END AS disabled_at
FROM crossdock.subscribed
WHERE deleted_at IS NULL;

-- Retention looks for what is old by these, a few rows at a time.
CREATE INDEX subscribed_deleted ON crossdock.subscribed (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX replays_subscription ON crossdock.replays (subscription_id);
