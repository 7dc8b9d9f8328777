"""One file per lesson: plain Channels, to be copied into a project of your own."""
