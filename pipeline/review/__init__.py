"""Shows a sample of results to people, and takes their verdicts and corrected masks back."""
