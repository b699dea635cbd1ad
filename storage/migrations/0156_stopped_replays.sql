-- An operator can stop a replay: nothing more of it is written, and those of its deliveries that wait are cancelled.

ALTER TABLE crossdock.replays ADD COLUMN stopped_at timestamptz;
