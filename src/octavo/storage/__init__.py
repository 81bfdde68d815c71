"""Devices and what is on them: requests, partitions, image files, RAM disks."""
