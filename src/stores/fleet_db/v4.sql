-- Version 4: sessions that outlive the daemon.

ALTER TABLE agents ADD COLUMN since INTEGER; -- when its phase began
ALTER TABLE agents ADD COLUMN verdict TEXT; -- how its task will be told of: a task's status,
ALTER TABLE agents ADD COLUMN verdict_words TEXT; -- and why
ALTER TABLE agents ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;

-- From where an open session can be taken up. `state` is the session's own.
CREATE TABLE sessions (
  agent_id INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
  time INTEGER NOT NULL,
  obeyed INTEGER NOT NULL, -- the newest order that is part of the state
  state BLOB NOT NULL
) STRICT;

-- What a session was told and has not made part of its state.
CREATE TABLE orders (
  agent_id INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE,
  number INTEGER NOT NULL,
  content TEXT NOT NULL, -- JSON
  PRIMARY KEY (agent_id, number)
) STRICT;
