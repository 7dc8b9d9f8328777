from typing import Any

import clarion.ids
import django.utils.timezone
from django.db import migrations, models


def postgresql_prepare(apps: Any, schema_editor: Any) -> None:
    """The numbers of ``sequence``, and a table that is made for rows which change twice and are deleted."""
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute("CREATE SEQUENCE clarion_outbox_sequence OWNED BY clarion_outbox_message.sequence")
    # A lease changes no indexed column: with room on the page the new version stays there and no index is touched.
    # Dead versions in the index of unsent rows are what every claim must step over: vacuum early.
    schema_editor.execute(
        "ALTER TABLE clarion_outbox_message SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,"
        " autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.05)"
    )


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='OutboxMessage',
            fields=[
                ('id', models.UUIDField(default=clarion.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('sequence', models.BigIntegerField(editable=False, unique=True)),
                ('channel', models.CharField(max_length=200)),
                ('data', models.TextField()),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sent', 'Sent'), ('dead', 'Dead')], default='pending', max_length=8)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('claimed_by', models.CharField(blank=True, default='', max_length=200)),
                ('claimed_until', models.DateTimeField(blank=True, null=True)),
                ('last_error', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'clarion_outbox_message',
                'indexes': [models.Index(condition=models.Q(('state', 'pending')), fields=['channel', 'sequence'], name='clarion_outbox_pending'), models.Index(condition=models.Q(('state', 'sent')), fields=['sent_at'], name='clarion_outbox_sent'), models.Index(condition=models.Q(('state', 'dead')), fields=['sequence'], name='clarion_outbox_dead')],
            },
        ),
        # Backwards the table goes, and the sequence that it owns with it.
        migrations.RunPython(postgresql_prepare, migrations.RunPython.noop),
    ]
