from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_workflow", "0004_passed_over"),
    ]

    operations = [
        migrations.AddField(
            model_name="steprun",
            name="written_at",
            field=models.JSONField(blank=True, editable=False, null=True),
        ),
    ]
