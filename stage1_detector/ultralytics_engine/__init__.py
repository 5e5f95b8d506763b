"""YOLO and RT-DETR, trained by ultralytics: its arguments, its trainer where it falls short, its callbacks."""
