"""What everything costs: `python -m bench [NAME...] [--json]`; the other scripts here are run by their files."""
