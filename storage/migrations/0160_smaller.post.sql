-- The index that the one of 0157 replaces.

DROP INDEX crossdock.documents_source;
