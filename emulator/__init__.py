"""What stands outside the application and tests it: fleets of devices. Imports nothing of the application."""
