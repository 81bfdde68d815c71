"""Pages of sections: where they are, how they come in, and how they are written back."""
