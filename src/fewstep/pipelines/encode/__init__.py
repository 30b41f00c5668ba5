from fewstep.pipelines.encode.pipeline import create_pipeline

__all__ = ["create_pipeline"]
