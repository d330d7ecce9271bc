-- The tier that a key names for an account which opens with its first use; without one, the
-- role's name is it.
ALTER TABLE api_keys ADD COLUMN tier text;
