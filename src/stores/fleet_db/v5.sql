-- Version 5: the age of events, wherever the clock jumps.

-- The time by which ages are counted. One row, or none yet.
CREATE TABLE aging (
  only INTEGER PRIMARY KEY CHECK (only = 0),
  time INTEGER NOT NULL
) STRICT;
