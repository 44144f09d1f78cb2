"""What outlives a network connection: sessions, their windows and queues, wills, takeover; and what packets do to them."""
