"""What users call things: the same key in both dialects, the words of other frameworks, names near a section."""
