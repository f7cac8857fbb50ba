"""Cameras, rasteriser, meshes and textures in plain torch: what every renderer and every fit of the house stands on."""
