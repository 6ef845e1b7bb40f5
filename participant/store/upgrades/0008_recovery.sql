-- Accounts of which a member lost its share: what operators approved, on all members, and on the one the share that came back.

CREATE TABLE recovery (
    request_id BLOB NOT NULL REFERENCES approval (request_id),
    account_id TEXT NOT NULL,
    key_id BLOB NOT NULL,
    share_epoch BLOB NOT NULL,               -- of the lost share
    lost INTEGER NOT NULL,                   -- evaluation point
    sealed_share BLOB,                       -- at the lost place, once it is back; never signs
    settled_at INTEGER,                      -- when new shares of all members came into force
    PRIMARY KEY (request_id, account_id)
) STRICT;
CREATE INDEX recovery_of_account ON recovery (account_id) WHERE settled_at IS NULL;
