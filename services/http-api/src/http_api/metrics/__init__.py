"""What http-api counts: workers write it to files, gunicorn's master shows it at ``/metrics`` of the internal port.

Workers: ``counts``, ``middleware``. Master: ``master``, ``folder``, ``collecting``.

Source: docs/reference/metrics.md, "http-api".
"""
