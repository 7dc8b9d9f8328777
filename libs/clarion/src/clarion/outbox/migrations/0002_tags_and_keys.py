from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('clarion_outbox', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='outboxmessage',
            name='tags',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='outboxmessage',
            name='idempotency_key',
            field=models.CharField(blank=True, db_default='', default='', max_length=200),
        ),
    ]
