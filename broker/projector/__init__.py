"""From the ingest log to what people look at: device records, values, history, rollups."""

from broker.projector.projector import Projector

__all__ = ["Projector"]
