"""What one network connection may use."""

from __future__ import annotations

from dataclasses import dataclass

TOPIC_ALIAS_MAXIMUM = 10
"""Topic aliases a client may define. Each holds a topic name, so they count towards what a connection can occupy."""

LARGEST_PACKET_BYTES = 268_435_460
"""The largest control packet there is: five bytes of fixed header and 268,435,455 behind it."""

MAX_CONNECT_BYTES = 256 * 1024
"""The largest CONNECT accepted, from a peer that nobody knows yet: four fields of 64 KiB each."""


SLICE_BYTES, SLICE_PACKETS = 16 * 1024, 400
SMALL_PACKET_BYTES = SLICE_BYTES // SLICE_PACKETS  # what one counts of a slice that is answered here, such as PINGREQ
"""What is read at once of one connection: a few ms of work; the packet that crosses the bound is read whole."""
READ_AT_ONCE_BYTES = 32 * 1024  # what one read of a socket brings at most
STEP_BYTES = 4 * 1024  # the number of packets is looked at so often
REQUEST_BYTES = 1024  # what a SUBSCRIBE or UNSUBSCRIBE counts for besides its bytes: it takes longer


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of `settings.TABLE` that the protocol machine enforces; see there for their units and defaults."""

    max_packet_bytes: int = 2_000_000
    connect_timeout_s: float = 10
    max_keep_alive_s: int = 65_535
    receive_maximum: int = 20
    max_topic_levels: int = 64
    max_client_id_bytes: int = 256
