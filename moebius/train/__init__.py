"""Training in plain PyTorch: tasks, losses, the teacher, data and the loop; ``pipeline/training.py`` adds Ray Train.

Public: ``losses`` (distillation), ``teacher.load_teacher``, ``settings.TrainSettings``, ``tasks.build_task``,
``loop.train``, and the programs ``python -m moebius.train`` and ``python -m moebius.train.photos``.
"""
