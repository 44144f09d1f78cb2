"""Group commit: everything that arrives while one batch is on its way to the store forms the next."""
