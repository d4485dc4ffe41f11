"""From noise to latents: the noise schedule, the solvers' steps and the loop with guidance (``sampler``).

Public: ``sampler.ddim_sample`` and ``schedule.ddim_timesteps``. Nothing is imported here, since ``schedule`` needs no
PyTorch.
"""
