"""The steps and pipelines that the command line of stpipe lists."""


def get_steps() -> list[tuple[str, str, bool]]:
    """Class name, alias, and whether it is a pipeline, of each; without importing them."""
    return [
        ("cal_pipeline.pipeline.CalibrationPipeline", "calibration_pipeline", True),
        ("cal_pipeline.steps.LoadsStep", "loads", False),
        ("cal_pipeline.steps.GainStep", "gain", False),
        ("cal_pipeline.steps.PrepareStep", "prepare", False),
        ("cal_pipeline.steps.AtmosphereStep", "atmosphere", False),
        ("cal_pipeline.steps.CalibrateStep", "calibrate", False),
        ("cal_pipeline.steps.DbsStep", "dbs", False),
        ("cal_pipeline.steps.SkychopdiffStep", "skychopdiff", False),
        ("cal_pipeline.steps.SkydiffStep", "skydiff", False),
    ]
