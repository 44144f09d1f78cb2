"""How gunicorn serves the dashboard: a worker whose threads are held by requests, never by clients that are slow to send one."""
