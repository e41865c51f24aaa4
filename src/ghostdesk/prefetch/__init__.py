"""Which files to bring into the page cache before a launch, from what launches were seen to touch."""
