-- Whether a subscription is sent whole events, or events without their data and with a reference to them (contract §12).

ALTER TABLE crossdock.subscribed ADD COLUMN payload text NOT NULL DEFAULT 'full';
