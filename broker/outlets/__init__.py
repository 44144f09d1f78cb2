"""From the ingest log to other databases: what lasts longer than Redis keeps it, or is looked at elsewhere."""
