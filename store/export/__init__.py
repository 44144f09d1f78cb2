"""Messages out of both stores, in one order, as lines of NDJSON or rows of CSV. Nothing is ever in memory whole."""
