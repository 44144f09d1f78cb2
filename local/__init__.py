"""One machine's stand-in for the platform: `make run` starts the Procfile's processes, a store and a demo fleet."""
