-- Version 6: what an agent said last in a task, however much came after it. Never changed once released.

CREATE INDEX messages_of_task ON log (task_id) WHERE kind = 'message';
