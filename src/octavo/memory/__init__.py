"""Frames and what is in them: PFN database, buddy allocator, lists, sections, faults, pageout."""
