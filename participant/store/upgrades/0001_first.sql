-- Times are milliseconds since 1970, ids are 32 bytes unless said otherwise. A column named sealed_* holds a value that
-- only the store's sealer opens, and only in its row.
-- Nothing of a presignature, of a pool of presigning randomness or of a nonce pair has a place here, by intention.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id BLOB NOT NULL,                  -- 16 random bytes
    created_at INTEGER NOT NULL,
    probe INTEGER NOT NULL DEFAULT 0         -- written to find out whether the store can be written
) STRICT;

CREATE TABLE sealing_key (
    number INTEGER PRIMARY KEY,
    form TEXT NOT NULL,                      -- the kind of key that wraps it
    wrapped BLOB NOT NULL
) STRICT;

CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    identity BLOB NOT NULL,                  -- the public key
    sealed_keys BLOB NOT NULL
) STRICT;

CREATE TABLE committee (
    committee_id BLOB PRIMARY KEY,
    description TEXT NOT NULL,               -- committee.yaml
    added_at INTEGER NOT NULL,
    current_aux_id BLOB REFERENCES aux_set (aux_id)
) STRICT;

CREATE TABLE aux_set (
    aux_id BLOB PRIMARY KEY,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    party INTEGER NOT NULL,                  -- this node's evaluation point
    sealed_set BLOB NOT NULL,
    activated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE account (
    account_id TEXT PRIMARY KEY,             -- free text, never parsed
    key_id BLOB NOT NULL,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    curve TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    party INTEGER NOT NULL,                  -- this node's evaluation point
    public_key BLOB NOT NULL,
    sealed_chain_code BLOB NOT NULL,
    share_epoch BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'frozen')),
    origin TEXT NOT NULL CHECK (origin IN ('keygen', 'import')),
    created_at INTEGER NOT NULL,
    last_signed_at INTEGER
) STRICT;

CREATE TABLE share (
    account_id TEXT NOT NULL REFERENCES account (account_id),
    share_epoch BLOB NOT NULL,
    party INTEGER NOT NULL,
    aux_id BLOB REFERENCES aux_set (aux_id),
    sealed_share BLOB NOT NULL,
    activated_at INTEGER NOT NULL,
    superseded_at INTEGER,
    PRIMARY KEY (account_id, share_epoch)
) STRICT;
CREATE INDEX share_by_aux ON share (aux_id);

CREATE TABLE session (
    sid BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    ph BLOB NOT NULL,                        -- hash of the proposal
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT
) STRICT;
CREATE INDEX session_open ON session (sid) WHERE ended_at IS NULL;

CREATE TABLE pending (
    sid BLOB PRIMARY KEY REFERENCES session (sid),
    kind TEXT NOT NULL,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    sealed_state BLOB NOT NULL,
    public BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    voided_at INTEGER
) STRICT;

CREATE TABLE pending_account (
    sid BLOB NOT NULL REFERENCES pending (sid) ON DELETE CASCADE,
    account_id TEXT NOT NULL,
    PRIMARY KEY (sid, account_id)
) STRICT;

CREATE TABLE done (
    sid BLOB NOT NULL REFERENCES session (sid),
    party INTEGER NOT NULL,                  -- evaluation point
    envelope BLOB NOT NULL,
    PRIMARY KEY (sid, party)
) STRICT;

CREATE TABLE certificate (
    sid BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    public BLOB NOT NULL,
    envelopes BLOB NOT NULL,                 -- ENC list of the done envelopes
    activated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE certificate_account (
    sid BLOB NOT NULL REFERENCES certificate (sid),
    account_id TEXT NOT NULL,
    PRIMARY KEY (sid, account_id)
) STRICT;
CREATE INDEX certificate_by_account ON certificate_account (account_id);

CREATE TABLE kept_envelope (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sid BLOB NOT NULL REFERENCES session (sid),
    kind TEXT NOT NULL CHECK (kind IN ('done', 'certificate', 'complaint', 'abort', 'sigma')),
    envelope BLOB NOT NULL,
    UNIQUE (sid, envelope)
) STRICT;

CREATE TABLE prime (
    prime_id BLOB PRIMARY KEY,               -- 16 random bytes
    bits INTEGER NOT NULL,
    sealed_prime BLOB NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;

CREATE TABLE request (
    request_id BLOB PRIMARY KEY,             -- 16 bytes
    caller TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    run BLOB NOT NULL,                       -- the process that works on it
    state TEXT NOT NULL CHECK (state IN ('open', 'failed', 'finished')),
    result BLOB,
    began_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;

CREATE TABLE answer (
    presignature_id BLOB PRIMARY KEY,
    req BLOB NOT NULL,
    envelope BLOB NOT NULL,                  -- the signed sigma
    audit_seq INTEGER NOT NULL REFERENCES audit (seq),
    answered_at INTEGER NOT NULL
) STRICT;

CREATE TABLE evidence (
    evidence_id BLOB PRIMARY KEY,            -- SHA-256 of the blob
    blob BLOB NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    peer BLOB NOT NULL,                      -- identity key
    committee_id BLOB NOT NULL REFERENCES committee (committee_id),
    aux_id BLOB,
    reason TEXT NOT NULL,
    evidence_id BLOB REFERENCES evidence (evidence_id),
    added_at INTEGER NOT NULL,
    cleared_at INTEGER,
    cleared_by TEXT
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    record BLOB NOT NULL,                    -- ENC
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sealed_head BLOB NOT NULL                -- ENC of [seq, hash]: without the sealing key nobody can cut the log's end
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER answer_is_never_changed BEFORE UPDATE ON answer
BEGIN SELECT RAISE (ABORT, 'an answer is never replaced'); END;
CREATE TRIGGER answer_is_never_removed BEFORE DELETE ON answer
BEGIN SELECT RAISE (ABORT, 'an answer is never removed'); END;
