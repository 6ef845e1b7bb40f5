-- The aux set that `done` bound: what new accounts of a run point to when its certificate comes, whatever came before it.

ALTER TABLE pending ADD COLUMN aux_id BLOB;
