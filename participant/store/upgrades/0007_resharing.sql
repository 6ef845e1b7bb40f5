-- Accounts that go to another committee: which run did it, and who of the old committee has destroyed its share.

CREATE TABLE reshare_run (
    sid BLOB PRIMARY KEY,
    request_id BLOB NOT NULL REFERENCES approval (request_id)
) STRICT;

CREATE TABLE reshare_certificate (
    request_id BLOB PRIMARY KEY REFERENCES approval (request_id),
    sid BLOB NOT NULL,
    envelopes BLOB NOT NULL,                 -- ENC list of the new holders' done envelopes
    certified_at INTEGER NOT NULL
) STRICT;

-- Shares that this node had and destroyed. The account may come back with another key_id.
CREATE TABLE moved_account (
    key_id BLOB PRIMARY KEY,
    account_id TEXT NOT NULL,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    new_committee_id BLOB NOT NULL,
    request_id BLOB NOT NULL,
    share_epoch BLOB NOT NULL,
    moved_at INTEGER NOT NULL
) STRICT;
CREATE INDEX moved_account_by_name ON moved_account (account_id);

CREATE TABLE destroyed_share (
    key_id BLOB NOT NULL,
    party INTEGER NOT NULL,                  -- evaluation point in the old committee
    word BLOB NOT NULL,                      -- signed by that party
    PRIMARY KEY (key_id, party)
) STRICT;
