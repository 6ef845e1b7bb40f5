"""Backups of shares: encrypted to recovery keys, and verifiable by anybody (docs/backup.md)."""
