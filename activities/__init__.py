"""The steps of the workflows: classes that get what they need by their constructor."""
