"""Pictures that commands draw for people to look at."""
