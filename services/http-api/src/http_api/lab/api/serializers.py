"""Bodies of the lab's questions."""

from __future__ import annotations

from clarion.names import consumer_channel_check
from http_api.env import env
from http_api.rest.fields import NameField, StrictSerializer, TextField


class ConsumerChannelField(NameField):
    """The name of one consumer's own layer channel; nothing else can be addressed."""

    @staticmethod
    def rule(name: object) -> str:
        """Check it."""
        return consumer_channel_check(env.layer_prefix, name)


class QuestionInput(StrictSerializer):
    """``{"channel_name", "question"}``."""

    channel_name = ConsumerChannelField()
    question = TextField(max_length=1_000)
