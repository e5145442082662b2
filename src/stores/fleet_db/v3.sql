-- Version 3: where an agent lives, on machines that have slots. Never changed once released.

ALTER TABLE agents ADD COLUMN slot TEXT;
