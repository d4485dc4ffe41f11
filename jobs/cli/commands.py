"""The commands by name, each with its line of help."""

COMMANDS = {
    "init": "write inpaint.yaml, a commented configuration to start from",
    "inpaint": "inpaint every image of a source under its mask: plan, run, commit, summary",
    "plan": "show what inpaint would do; changes nothing",
    "config": "print the effective configuration and the origin of each value",
    "preview": "draw some samples with their masks before anything is inpainted",
    "vacuum": "list, or with --delete remove, the unused files of a sink",
    "verify": "compare the files of a sink with its rows; with --mark, have damaged results reprocessed",
    "forget": "permanently delete samples from a sink; later runs skip them",
    "distill": "train the denoiser with or without a teacher, the autoencoder, or a teacher; resumes when restarted",
    "evaluate": "measure models and classical fills against ground truth, in seeded holes",
    "convert": "convert checkpoints between .bin and .safetensors",
    "bench": "measure the model or the pipeline on this machine: table and JSON",
    "report": "write an HTML page about a sink: totals, throughput, failures, samples before and after",
    "review": "hand a sample of results to people to judge; with --import, take verdicts and masks back",
    "export": "publish results as a data set or table: Parquet, Hugging Face, Delta Lake, Iceberg, Lance",
    "contact-sheet": "draw some results: input, hole, output",
}


def module_name(command: str) -> str:
    """Return the name of the module that holds a command."""
    return f"jobs.{command.replace('-', '_')}"
