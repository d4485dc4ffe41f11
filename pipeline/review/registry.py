"""Registry of the tools that people review results with: one line and one file in ``tools/`` each."""

from pipeline.registry import Registry

REVIEW_TOOLS = Registry(
    "pipeline.review.tools",
    {
        "folder": "folder.Folder",
        "fiftyone": "fiftyone.FiftyOne",
        "labelstudio": "labelstudio.LabelStudio",
    },
)
