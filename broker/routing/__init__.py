"""Topic filters and who gets what. Pure: no sockets, no clock, no store."""
