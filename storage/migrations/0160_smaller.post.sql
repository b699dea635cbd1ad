-- The index that the one of 0157 replaces.

DROP INDEX IF EXISTS crossdock.documents_source;
