"""Frames and what is in them: PFN database, buddy allocator, page lists, sections, faults, pageout."""
