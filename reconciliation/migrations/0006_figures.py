from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0005_matching'),
    ]

    operations = [
        migrations.CreateModel(
            name='Figures',
            fields=[],
            options={
                'verbose_name': 'figures',
                'verbose_name_plural': 'figures',
                'proxy': True,
                'default_permissions': ('view',),
                'indexes': [],
                'constraints': [],
            },
            bases=('reconciliation.settlementbatch',),
        ),
    ]
