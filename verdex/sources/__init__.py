"""Where files come from: which files a source tree holds, and what is in them."""
