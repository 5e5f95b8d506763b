"""YOLO and RT-DETR, trained by ultralytics: its arguments, its extended trainer, its callbacks."""
