-- A subscription that is enabled, and disabled again before anything was delivered, has been disabled all the time: what it
-- missed begins where it began before. Whoever enables it while its server still refuses would otherwise lose sight of
-- the first part.
CREATE OR REPLACE FUNCTION crossdock.note_enabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.enabled THEN
        NEW.enabled_at := now();
    ELSIF TG_OP = 'INSERT' OR OLD.disabled_at IS NULL OR OLD.enabled_at IS NULL OR EXISTS (
        SELECT FROM crossdock.finished f
        WHERE f.subscription_id = OLD.id AND f.status = 'delivered' AND f.finished_at >= OLD.enabled_at
    ) THEN
        NEW.disabled_at := now();
        NEW.enabled_at := NULL;
    ELSE
        NEW.enabled_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
