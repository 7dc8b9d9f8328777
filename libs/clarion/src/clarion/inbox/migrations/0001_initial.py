import clarion.ids
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clarion_outbox', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.UUIDField(default=clarion.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('title', models.CharField(max_length=200)),
                ('body', models.TextField(blank=True)),
                ('data', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'db_table': 'clarion_inbox_notification',
                'indexes': [models.Index(fields=['-created_at'], name='clarion_inbox_newest')],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=clarion.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('user_id', models.CharField(max_length=128)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sent', 'Sent'), ('dead', 'Dead')], default='pending', max_length=8)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('outbox', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='delivery', to='clarion_outbox.outboxmessage')),
                ('notification', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='clarion_inbox.notification')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'db_table': 'clarion_inbox_delivery',
                'indexes': [models.Index(fields=['user_id', '-created_at'], name='clarion_inbox_of_user')],
                'constraints': [models.UniqueConstraint(fields=('notification', 'user_id'), name='clarion_inbox_delivery_once')],
            },
        ),
    ]
