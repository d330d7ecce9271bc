DROP FUNCTION append_events;
DROP TABLE commands;
DROP TABLE events;
DROP FUNCTION refuse_change;
DROP TABLE log_identity;
