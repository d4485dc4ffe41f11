"""Training of a small teacher from scratch, for small denoisers and the autoencoder of ``nano``."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from moebius.checkpoint import write_state_dict
from moebius.train.tasks.denoising import DenoiserTask
from moebius.train.teacher import Teacher

FILE = "teacher.safetensors"


class TeacherTask(DenoiserTask):
    """Training task of a small teacher, as wide as a denoiser's levels; the deepest one comes twice, as published."""

    def _new_model(self, state: Mapping[str, Tensor] | None) -> nn.Module:
        config = self.config
        widths = (*config.channels, config.channels[-1])
        teacher = Teacher(
            widths, config.category_width, config.context_width, config.categories, config.latent_channels
        )
        if self.settings.gradient_checkpointing:
            teacher.diff_model.enable_gradient_checkpointing()
        return teacher

    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write ``teacher.safetensors``, with published keys."""
        write_state_dict(dict(state), folder / FILE)
