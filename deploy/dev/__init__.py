"""The product on one developer's machine, without containers: ``make up`` and ``make down``.

``up`` prepares what is missing, runs everything under a supervisor and shows one line per event; ``down`` stops one
that was left. All state is in one folder, ``.run/``. Source: deploy/dev/README.md.
"""
