"""Drivers: image files and RAM disks."""
