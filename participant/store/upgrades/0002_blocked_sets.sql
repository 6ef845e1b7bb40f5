-- Signer sets that do not work together until it is known who cheated among them.

CREATE TABLE blocked_set (
    sid BLOB PRIMARY KEY REFERENCES session (sid),
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    signers BLOB NOT NULL,                   -- ENC list of evaluation points, ascending
    run BLOB NOT NULL,                       -- ENC of what the identification begins with: all public
    reason TEXT NOT NULL,
    blocked_at INTEGER NOT NULL,
    lifted_at INTEGER,
    lifted_by TEXT
) STRICT;
CREATE INDEX blocked_set_in_force ON blocked_set (committee_id) WHERE lifted_at IS NULL;

CREATE TABLE opening (
    sid BLOB NOT NULL REFERENCES blocked_set (sid),
    party INTEGER NOT NULL,                  -- evaluation point
    envelope BLOB NOT NULL,                  -- its abort message
    PRIMARY KEY (sid, party)
) STRICT;
