DROP TABLE turns;
DROP TABLE messages;
DROP TABLE sessions;
DROP TABLE parked_events;
DROP TABLE checkpoints;
