"""The reviews of results in a sink: verdicts, notes and corrected masks, and what they say about all results."""
