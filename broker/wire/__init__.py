"""Bytes to MQTT control packets and back, for MQTT 3.1, 3.1.1 and 5.0.

Pure: no socket, no clock, no state of a session. One control packet a file, `decode` beside `encode`.
A byte string that breaks the specification raises `errors.WireError`, never anything else.
Whether a packet may come now, from this side, is for `broker.protocol` to say.
"""
