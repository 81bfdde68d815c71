"""What is common to every file system: volumes, nodes, directories and open files over sections."""
