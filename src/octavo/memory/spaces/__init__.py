"""Address spaces: what is allocated and mapped in them, their pages, faults and working sets."""
