"""ext2, read only; ext3 that was cleanly unmounted is read as ext2."""
