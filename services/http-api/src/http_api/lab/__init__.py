"""The lab's part here: ask a consumer of a gateway something, over the channel layer."""
