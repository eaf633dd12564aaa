"""Raw drone recordings and annotated videos, written as COCO files."""
