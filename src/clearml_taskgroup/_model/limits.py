"""Time limits and sizes that somebody may want to change, each with its unit in the name.

Other modules read them as `limits.NAME` at the moment of use, so that a change takes effect at once.
"""

from __future__ import annotations

API_TIMEOUT_S = 120.0
"""How long one API call is repeated while the server does not answer: a restart of the server takes less."""
API_ANSWER_TIMEOUT_S = 60.0
"""How long one attempt waits for the server's answer: large requests take a server some seconds."""
API_CONNECT_TIMEOUT_S = 10.0
"""How long one attempt waits for a connection: a server that takes longer is away."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The largest answer that is read: it bounds the memory that a broken server or proxy can take."""
MAX_CONCURRENT_CALLS = 8
"""API calls at a time when many tasks are created or ended: more do not make a small server faster."""
LOGIN_TIMEOUT_S = 6.0
"""How long a group that opens waits for a server that does not answer; with the import of ClearML, 10 s."""
SHARED_LOGIN_TIMEOUT_S = 30.0
"""The same for a run that processes share: they may all begin at the same moment."""

HEARTBEAT_S = 30.0
"""How often the statuses of open tasks are read: an abort is noticed after this time at the latest."""
HEARTBEAT_ANSWER_TIMEOUT_S = 10.0
"""How long that waits for an answer: events are not delivered meanwhile."""
PING_AFTER_S = 1200.0
"""Silence after which an open task is pinged: the server's watchdog stops it after 7,200 s."""
PARENT_PING_AFTER_S = 120.0
"""The same for the parent: its last update shows other processes that the run is alive."""

LIVE_FIRST_LOOK_S = 0.5
"""How often it is looked whether a run has tasks, which its parent's page then tells."""
LIVE_LOOK_S = 10.0
"""How often the counts on the parent's page are brought up to date, if they have changed."""
LIVE_SHARED_S = 30.0
"""The same in a run that processes share: one of them reads the tasks of all."""
LIVE_SUMMARY_S = 180.0
"""How often the tables and figures on the parent's page are brought up to date."""

SENDER_CHUNK_BYTES = 2 * 1024 * 1024
"""What is read from the outbox and sent at a time: it bounds the memory that undelivered events take."""
SENDER_REQUEST_BYTES = 8 * 1024 * 1024
"""The largest request of events: servers accept 15 MiB by default."""
SENDER_TIMEOUT_S = 10.0
"""How long one request of events is repeated before the sender looks after the tasks again."""
OUTBOX_RECYCLE_BYTES = 8 * 1024 * 1024
"""Delivered bytes after which an outbox is emptied: it bounds the file of a run that goes well."""
MODEL_UPLOAD_TIMEOUT_S = 3600.0
"""How long saving a model waits for the uploads of earlier ones."""
