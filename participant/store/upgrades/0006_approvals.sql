-- What this node's operator approved: without it the node takes no part in a resharing or a recovery.

CREATE TABLE approval (
    request_id BLOB PRIMARY KEY,             -- a hash of all that is asked for
    kind TEXT NOT NULL,                      -- of the session
    account_id TEXT NOT NULL,
    request BLOB NOT NULL,                   -- the file that was approved
    approved_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT
) STRICT;
