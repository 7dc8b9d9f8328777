"""The look that the services' pages share, and what stands around every one of their answers."""
