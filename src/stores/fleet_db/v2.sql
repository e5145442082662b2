-- Version 2: what has happened.

CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- an id that was removed is not used again: readers go on from it
  time INTEGER NOT NULL,
  trail INTEGER NOT NULL, -- 0 fleet, 1 audit, 2 refusals
  event TEXT NOT NULL,
  agent TEXT, -- a name and no reference: events outlive their agents
  token TEXT,
  message TEXT NOT NULL,
  fields TEXT NOT NULL, -- a JSON object of texts
  bytes INTEGER NOT NULL -- about what it takes, indexes included
) STRICT;

-- The size of each trail: what would have to be counted.
CREATE TABLE trails (trail INTEGER PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
INSERT INTO trails VALUES (0, 0), (1, 0), (2, 0);

-- Each index ends with the row's id, so these order what they find.
CREATE INDEX events_of_trail ON events (trail);
CREATE INDEX events_by_time ON events (time);
CREATE INDEX events_of_agent ON events (agent) WHERE agent IS NOT NULL;
CREATE INDEX events_of_token ON events (token) WHERE token IS NOT NULL;
