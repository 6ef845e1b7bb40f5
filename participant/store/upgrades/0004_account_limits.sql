-- Accounts that are to be erased or were, and shares that came from a backup.

CREATE TABLE deletion (
    account_id TEXT PRIMARY KEY,
    key_id BLOB NOT NULL,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    approvals BLOB NOT NULL,                 -- ENC list of the members' signed words
    decided_at INTEGER NOT NULL,
    erase_at INTEGER NOT NULL,
    erased_at INTEGER                        -- the row stays: the account's id is taken for ever
) STRICT;

-- Signing waits for an epoch after the restored one: others may hold copies of the backup.
CREATE TABLE restored_share (
    account_id TEXT PRIMARY KEY REFERENCES account (account_id) ON DELETE CASCADE,
    share_epoch BLOB NOT NULL,
    restored_at INTEGER NOT NULL
) STRICT;
