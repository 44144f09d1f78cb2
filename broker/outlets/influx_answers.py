"""What InfluxDB's answers mean. Pure.

Sources: the HTTP API references of InfluxDB 1.x and 2.x; what 1.6.7 does. A write that is refused in part is 400
(1.x) or 422 (2.x) with `partial write: REASON dropped=COUNT`: the other points are written.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SHOWN_LENGTH = 200

ADVICE_1 = {
    401: "user or password of INFLUX_URL are not those of the server",
    403: "the user of INFLUX_URL may not write to the database: an administrator has to GRANT WRITE on it",
    404: "the database of INFLUX_URL does not exist, and its user may not create it: an administrator has to",
}
ADVICE_2 = {
    401: "INFLUX_TOKEN is not a token of the server, or may not write to the bucket",
    403: "INFLUX_TOKEN may not write to the bucket of INFLUX_URL: make one that may",
    404: "the server has no such organization or bucket: create it, or correct INFLUX_URL",
}


class Answer(NamedTuple):
    """A status code and what was said; `retry_after` is that header, empty where there is none."""

    status: int
    text: str = ""
    retry_after: str = ""

    @property
    def is_good(self) -> bool:
        """Whether all was done."""
        return 200 <= self.status < 300

    @property
    def dropped(self) -> int:
        """How many points were left out while all others were written; 0 where that is not what happened."""
        if self.status not in {400, 422} or "partial write" not in self.text:
            return 0
        counted = re.search(r"dropped=(\d+)", self.text)
        return max(1, int(counted[1] if counted else 0) + self.text.count("unable to parse"))

    @property
    def is_about_points(self) -> bool:
        """Whether nothing was written because of some points, or because of how many there were: fewer may pass."""
        is_refusal = "parse" in self.text or "field type conflict" in self.text
        return self.status in {413, 422} or (self.status == 400 and is_refusal)

    @property
    def pause_s(self) -> float:
        """For how long the server wants to be left alone."""
        return float(self.retry_after) if re.fullmatch(r"[0-9]{1,9}", self.retry_after) else 0.0

    @property
    def shown(self) -> str:
        """For people: the status and the beginning of what was said."""
        text = " ".join(self.text.split())
        return f"{self.status}: {text[:SHOWN_LENGTH]}" if text else str(self.status)
