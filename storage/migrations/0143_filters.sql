-- Filters of subscriptions (contract §12), as JSON text: in jsonb, numbers would be written in another way, and a text
-- with U+0000 could not be stored. Null for no filter. Workers of the previous release send what a filter leaves out.

ALTER TABLE crossdock.subscribed ADD COLUMN filter text;
