from fewstep.pipelines.edit.pipeline import create_pipeline

__all__ = ["create_pipeline"]
