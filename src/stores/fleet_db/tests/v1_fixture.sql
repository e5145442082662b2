PRAGMA application_id = 1179468624;
PRAGMA user_version = 1;
CREATE TABLE agents (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL,
  role TEXT NOT NULL,
  project TEXT NOT NULL,
  last_task TEXT,
  session TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE totals (
  agent_id INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
  tasks INTEGER NOT NULL DEFAULT 0,
  entries INTEGER NOT NULL DEFAULT 0,
  log_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE highest (agent_id INTEGER NOT NULL, task_id INTEGER NOT NULL) STRICT;
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  agent_id INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE,
  description TEXT NOT NULL,
  status TEXT NOT NULL,
  message TEXT,
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  context_tokens INTEGER,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cost REAL,
  currency TEXT,
  question TEXT
) STRICT;
CREATE TABLE log (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent_id INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE,
  task_id INTEGER,
  time INTEGER NOT NULL,
  kind TEXT NOT NULL,
  content TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_of_agent ON tasks (agent_id);
CREATE INDEX log_of_agent ON log (agent_id);
INSERT INTO highest VALUES (7, 11);
INSERT INTO agents VALUES
  (7, 'sony', 'busy', 'coder', 'scratch', 'Say hello', '6f1c', 1700000000000000, 1700000000000001);
INSERT INTO totals VALUES (7, 2, 2, 14);
INSERT INTO tasks VALUES
  (10, 7, 'First', 'interrupted', 'restarted', 1600000000000000, 1600000000000001,
   NULL, NULL, NULL, NULL, NULL, NULL),
  (11, 7, 'Say hello', 'needs_attention', NULL, 1700000000000000, NULL, 1, 2, -1, 0.25, 'USD',
   '{"id":"q1","text":"May I?","choices":[{"id":"a","name":"Allow","kind":"allow_once"}],"asked_at":1700000000000002}');
INSERT INTO log VALUES
  (41, 7, 11, 1700000000000000, 'task', 'Say it…'),
  (42, 7, 11, 1700000000000001, 'message', 'Hello');
