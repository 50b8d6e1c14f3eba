from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_workflow", "0005_state_written_at"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("error_type", ""), _negated=True),
                fields=["error_type", "id"],
                name="workflow_run_errors",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["created_at"], name="workflow_run_created"),
        ),
        migrations.AddIndex(
            model_name="steprun",
            index=models.Index(
                condition=models.Q(("current", True), ("status", "failed")),
                fields=["step", "run"],
                name="workflow_step_run_failed",
            ),
        ),
    ]
