"""The server's side of one network connection: bytes and `now` in, packets and bytes out. No I/O, no clock.

What it handles: packet boundaries, states (before CONNECT, deciding, connected, closed), protocol errors and the answer
each gets, keep alive, topic aliases, the receive maximum. What it will not: sessions, delivery, storage, time itself.
"""
