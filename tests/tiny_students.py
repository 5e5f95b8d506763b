"""Settings of students that learn in a few seconds, on 64 x 64 photos as they are."""

from dataclasses import replace

from stage1_detector.distillation.config import StudentConfig

RTDETR = StudentConfig(
    model="yolov8n-rtdetr.yaml", size=64, batch=2, epochs=1, queries=20, decoder_layers=2, floor=0.0, teacher_warmup=0.0,
    hsv_p=0.0, affine_p=0.0, device="cpu",
)  # fmt: skip
YOLO = replace(RTDETR, family="yolo", model="yolov8n.yaml", match="index")
