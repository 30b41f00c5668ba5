from onestep.pipelines.distill.pipeline import create_pipeline

__all__ = ["create_pipeline"]
