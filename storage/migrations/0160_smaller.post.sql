-- The indexes that those of 0157 replace.

DROP INDEX crossdock.documents_source;
DROP INDEX crossdock.documents_order_number;
