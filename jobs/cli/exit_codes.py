"""The exit codes of every command."""

DONE, FAILED, WRONG_USAGE, TOO_MANY_FAILED = 0, 1, 2, 3
DISAGREE = TOO_MANY_FAILED

EXIT_CODES = """exit codes: 0 done, 1 the job failed, 2 wrong usage or configuration (nothing was started),
3 done, but more samples failed than limits.max_failed_fraction allows, or (verify, export) files and rows disagree,
or (evaluate) a method filled no hole"""
