"""Training in plain PyTorch; ``pipeline/training/`` adds streams and Ray Train.

Public: ``settings.TrainSettings``, ``tasks.build.build_task``, ``loop.train``, ``losses`` (distillation),
``teacher.load_teacher``, and the program ``python -m moebius.train.photos``.

- ``data``: masks, batches, caches; ``photos`` packs photos and cuts crops.
- ``tasks``: what each mode trains; ``losses`` and ``teacher`` belong to distillation.
- ``optimization`` and ``logs``: what ``loop`` does in a step, and what it writes.
- ``timed``: training by the clock.
"""
