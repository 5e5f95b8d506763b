"""What runs at judgment: photos to named, scored boxes, with numpy, cv2 and onnxruntime alone."""
