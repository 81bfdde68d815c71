"""External pagers: memory objects whose data somebody outside the executive keeps."""
