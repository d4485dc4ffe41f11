"""The command line that all commands share: names, arguments, exit codes, errors."""
