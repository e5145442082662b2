-- Version 1. Never changed once released: what comes later is a step of its own.

CREATE TABLE agents (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL,
  role TEXT NOT NULL,
  project TEXT NOT NULL,
  last_task TEXT,
  session TEXT,
  created_at INTEGER NOT NULL, -- all times: microseconds since 1970
  updated_at INTEGER NOT NULL
) STRICT;

-- What would have to be counted. Beside `agents`, because it changes with each log entry and the
-- agent's own row may be long.
CREATE TABLE totals (
  agent_id INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
  tasks INTEGER NOT NULL DEFAULT 0,
  entries INTEGER NOT NULL DEFAULT 0,
  log_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The highest ids ever, so that a removed one is not used again. One row.
CREATE TABLE highest (agent_id INTEGER NOT NULL, task_id INTEGER NOT NULL) STRICT;
INSERT INTO highest VALUES (0, 0);

CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  agent_id INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE,
  description TEXT NOT NULL,
  status TEXT NOT NULL,
  message TEXT,
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  context_tokens INTEGER, -- unsigned 64 bit, kept as the signed number of the same bits
  input_tokens INTEGER,
  output_tokens INTEGER,
  cost REAL,
  currency TEXT,
  question TEXT -- JSON
) STRICT;

-- `task_id` refers to `tasks`, which go with their agent only: checking it would need an index.
CREATE TABLE log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- a trimmed id is not used again: readers go on from it
  agent_id INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE,
  task_id INTEGER,
  time INTEGER NOT NULL,
  kind TEXT NOT NULL,
  content TEXT NOT NULL
) STRICT;

-- Each index ends with the row's id, so these order an agent's tasks and log.
CREATE INDEX tasks_of_agent ON tasks (agent_id);
CREATE INDEX log_of_agent ON log (agent_id);
