ALTER TABLE turns
    DROP COLUMN quota_warnings,
    DROP COLUMN credits,
    DROP COLUMN stopped_by;
DROP TABLE usage_daily;
DROP TABLE transactions;
DROP TABLE accounts;
DELETE FROM parked_events WHERE projection IN ('accounts', 'transactions', 'usage_daily');
DELETE FROM checkpoints WHERE name IN ('accounts', 'transactions', 'usage_daily');
