"""Training for a given number of seconds, on data that lies on the device."""
