"""The middle man: what the broker writes and the dashboard reads. Knows no MQTT packet and no HTTP."""
