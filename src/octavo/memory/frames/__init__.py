"""Frames: what each is (the PFN database), which are free (the buddy allocator), lists."""
