-- When an account was last polled in vain, for operators; null if that was before the upgrade.
ALTER TABLE crossdock.polls ADD COLUMN last_failed_at timestamptz;
