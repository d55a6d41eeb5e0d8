"""Where tasks and events are kept: in memory, in offline sessions, on a server behind an outbox."""
