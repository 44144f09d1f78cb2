"""Sockets: accepting, back-pressure both ways, time-outs, drain. The only room that knows a transport."""
