from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0019_files_that_are_not_received"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="tolerancerule",
            options={
                "default_permissions": ("add", "change", "view"),
                "permissions": [("approve_tolerancerule", "Can approve or reject a change of tolerances that somebody else proposes")],
                "verbose_name": "tolerance",
                "verbose_name_plural": "tolerances",
            },
        ),
    ]
