-- Any of several outer keys opens a store. Each has a slot, in which it wraps every data key.

CREATE TABLE sealing_slot (
    slot INTEGER NOT NULL,
    number INTEGER NOT NULL,                 -- of the data key
    form TEXT NOT NULL,                      -- the kind of key that wraps it
    note TEXT NOT NULL,                      -- which key it is, for people: nothing secret
    wrapped BLOB NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (slot, number)
) STRICT;
INSERT INTO sealing_slot SELECT 1, k.number, k.form, '', k.wrapped, s.created_at FROM sealing_key AS k, store AS s;
DROP TABLE sealing_key;
ALTER TABLE sealing_slot RENAME TO sealing_key;
