"""The subcommands of ``papermage-data``: a module for each, with its options and its ``run``."""
