"""StoryWorld: a procedural, seeded world with hidden traits, its captions and its trait reader."""
