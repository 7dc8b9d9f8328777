"""Publishing: one publication to one channel by HTTP."""
