"""Messages out of an installation and into another: export, import, and the check that nothing is missing.

Both stores are read and written as one. Everything is streamed: what a device or a fleet holds is never in memory whole.
"""
