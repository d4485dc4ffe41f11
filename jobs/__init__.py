"""The commands, one module each: arguments → configuration → one call. The packages hold what commands share."""
