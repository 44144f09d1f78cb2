"""The frame around the broker: who may connect. Plugins and their events have their room here."""
