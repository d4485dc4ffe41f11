"""Blind comparisons of fills by people: pairs, the page that shows them, and what the votes say."""
