ALTER TABLE turns DROP COLUMN abandoned;
DROP TABLE worker_leases;
