-- A database user for each process and one for operators, each a member of its own role alone (`crossdock roles`).
-- Executed by psql 15 or later, as an administrator, after `crossdock migrate`; the passwords come from its environment.
-- It is safe to repeat: the users then get the passwords that are set now.

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['store', 'deliver', 'api', 'poll', 'console']) AS process,
     LATERAL (SELECT format('crossdock_%s_login', process) AS name) login
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

GRANT crossdock_store TO crossdock_store_login;
GRANT crossdock_deliver TO crossdock_deliver_login;
GRANT crossdock_api TO crossdock_api_login;
GRANT crossdock_poll TO crossdock_poll_login;
GRANT crossdock_console TO crossdock_console_login;

\getenv store STORE_PASSWORD
ALTER ROLE crossdock_store_login PASSWORD :'store';
\getenv deliver DELIVER_PASSWORD
ALTER ROLE crossdock_deliver_login PASSWORD :'deliver';
\getenv api API_PASSWORD
ALTER ROLE crossdock_api_login PASSWORD :'api';
\getenv poll POLL_PASSWORD
ALTER ROLE crossdock_poll_login PASSWORD :'poll';
\getenv console CONSOLE_PASSWORD
ALTER ROLE crossdock_console_login PASSWORD :'console';
