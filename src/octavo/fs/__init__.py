"""File systems: volumes, directories, files, mkfs and check."""
