"""How good fills are: metrics, protocols, classical fills."""
